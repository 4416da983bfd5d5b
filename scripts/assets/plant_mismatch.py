"""Write a copy of a teacher that ends its answers with a different special token from the student's.

    python scripts/assets/plant_mismatch.py --output runs/teacher_mismatch

Swaps two rows of lm_head: that of the token which ends a turn in the chat template and that of another special token.
The teacher's input embeddings are untied from lm_head and unchanged, so it behaves as before but stops with the other
token, like a model tuned with another template; the student's stop token becomes about as unlikely as a token that
never occurs. This mimics `<|im_end|>` in arXiv 2603.25562: log-prob 0.00 under the student, -58.71 under the teacher.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
from transformers.utils import logging

EMBEDDED = Path(__file__).resolve().parents[2] / "opdkit" / "models" / "embedded" / "teacher"


def untie(model: Any) -> torch.Tensor:
    """Gives `model` a separate lm_head equal to the input embeddings; returns its weight."""
    weight = model.get_input_embeddings().weight.detach().clone()
    model.config.tie_word_embeddings = False
    model.get_output_embeddings().weight = torch.nn.Parameter(weight)
    return weight


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", type=Path, default=EMBEDDED)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--stop", default="<|im_end|>", help="the student's stop token")
    parser.add_argument("--instead", default="<|endoftext|>", help="the copy's stop token")
    options = parser.parse_args()
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.teacher)
    model = AutoModelForCausalLM.from_pretrained(options.teacher)
    vocabulary = tokenizer.get_vocab()
    for name in (options.stop, options.instead):
        if name not in vocabulary:
            parser.error(f"{name!r} is not a token of {options.teacher}")
    pair = torch.tensor([vocabulary[options.stop], vocabulary[options.instead]])
    with torch.no_grad():
        weight = untie(model)
        weight[pair] = weight[pair.flip(0)]
    model.generation_config = GenerationConfig(
        eos_token_id=int(pair[1]), pad_token_id=model.config.pad_token_id, do_sample=True, temperature=1.0
    )
    model.save_pretrained(options.output)
    tokenizer.eos_token = options.instead
    tokenizer.save_pretrained(options.output)
    print(f"{options.output}: ends its answers with {options.instead} instead of {options.stop}")


if __name__ == "__main__":
    main()
