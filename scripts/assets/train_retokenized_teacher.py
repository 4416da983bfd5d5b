"""Train a teacher of worked sums with a different tokenizer from the embedded student's, on a CPU in a few minutes.

Its tokenizer is a small byte-level BPE, trained by `tokenizers` on the worked sums: words, numbers and line ends are
single tokens. Its chat template and stop token differ too, and `<think>` is not one of its tokens. The problems, the
worked answers and the held-out expressions are those of `train_embedded_pair.py`.

    python scripts/assets/train_retokenized_teacher.py --output opdkit/models/embedded
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from train_embedded_pair import (
    HELD_OUT_SEED,
    QUESTION,
    SEED_STRIDE,
    answer_losses,
    build_model,
    encode,
    greedy_accuracy,
    learn,
    sums,
    wilson_interval,
)
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

PAD, USER, ASSISTANT, END = "<pad>", "<|user|>", "<|assistant|>", "<|end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
FOLDER = "bpe_teacher"
TEXTS = 2_000


def build_tokenizer(vocabulary: int, seed: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE of at most `vocabulary` tokens over words, numbers and runs of signs, specials last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(texts(seed), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in (PAD, USER, ASSISTANT, END)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def texts(seed: int) -> Iterator[str]:
    """Questions and worked answers without held-out ones."""
    for problem in islice(sums(seed * SEED_STRIDE, held_out=False), TEXTS):
        yield QUESTION.format(expression=problem.expression)
        yield problem.worked()


def train(options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Supervised training on worked answers; returns the final model."""
    model = build_model(tokenizer)
    problems = (encode(tokenizer, problem) for problem in sums(options.seed * SEED_STRIDE, held_out=False))
    losses = (answer_losses(model, islice(problems, options.batch)) for _ in range(options.steps))
    for _ in learn(model, losses, options.lr, options.steps, every=100):
        pass
    return model


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [on-policy-distillation, arithmetic]
---
# opdkit embedded bpe_teacher

A Llama of {parameters:,} float32 parameters (width {width}, {layers} layers, {heads} heads, tied embeddings) with a
byte-level BPE of {vocabulary} tokens. It only works out sums of 4 to 7 one-digit terms: it is the teacher
of another family, with which `opdkit train teacher=retokenized` runs on a machine without a network.

| | |
|---|---|
| tokenizer | trained on {texts} worked sums: {tokens:.1f} tokens per answer, the student's takes {bytes:.1f} |
| chat template | its own; the stop token is `<\\|end\\|>`, and `<think>` is not one of its tokens |
| data | reasoning-gym {gym} `chain_sum`, 4 to 7 one-digit terms, each with a worked answer made by the script |
| training | {steps} steps of {batch} problems, AdamW, learning rate {lr:g}, cosine, seed {seed} |
| held out | every expression whose CRC-32 is divisible by 10; none of them was trained on |
| accuracy | {accuracy:.1%} greedy on {problems} held-out problems (95 % interval {low:.1%} to {high:.1%}) |
| licence | Apache-2.0 |

Made from random weights by

    python scripts/assets/train_retokenized_teacher.py --seed {seed} --steps {steps} --batch {batch} --lr {lr:g} \\
        --vocabulary {size} --problems {problems}

## Input and output, tokens separated by bars

```
{example}
```
"""


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, options: argparse.Namespace) -> None:
    """Evaluate the model on the held-out problems and write it with its tokenizer and card."""
    problems = list(islice(sums(HELD_OUT_SEED, held_out=True), options.problems))
    model.eval()
    accuracy = greedy_accuracy(model, tokenizer, problems)
    low, high = wilson_interval(accuracy, len(problems))
    folder = options.output / FOLDER
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    answers = [problem.worked() for problem in problems]
    first = encode(tokenizer, problems[0])
    card = CARD.format(
        parameters=model.num_parameters(),
        width=model.config.hidden_size,
        layers=model.config.num_hidden_layers,
        heads=model.config.num_attention_heads,
        vocabulary=model.config.vocab_size,
        texts=TEXTS,
        tokens=sum(len(tokenizer(text)["input_ids"]) for text in answers) / len(answers),
        bytes=sum(map(len, answers)) / len(answers),
        gym=version("reasoning-gym"),
        steps=options.steps,
        batch=options.batch,
        lr=options.lr,
        seed=options.seed,
        size=options.vocabulary,
        problems=len(problems),
        accuracy=accuracy,
        low=low,
        high=high,
        example="|".join(str(tokenizer.decode([token])) for token in first.prompt + first.answer),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print(f"{FOLDER}: {accuracy:.1%} of {len(problems)} held-out problems ({low:.1%} to {high:.1%}), {folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("opdkit/models/embedded"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16, help="problems per step")
    parser.add_argument("--lr", type=float, default=2.5e-3)
    parser.add_argument("--vocabulary", type=int, default=448, help="tokens of the BPE without special tokens")
    parser.add_argument("--problems", type=int, default=1024, help="held-out problems to evaluate on")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    logging.disable_progress_bar()
    tokenizer = build_tokenizer(options.vocabulary, options.seed)
    save(train(options, tokenizer), tokenizer, options)


if __name__ == "__main__":
    main()
