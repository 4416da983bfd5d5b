"""Make a student that reads a hint in its prompt, from the embedded student, on a CPU in about half an hour.

Two losses. Without a hint it is kept as it was: cross-entropy to the embedded student's distribution on that student's
responses. With a hint it learns to use it: after a worked solution, a demonstration or another response it repeats what
that says, after an answer it works out the sum and ends with that answer, and after a system turn it gives the bare
answer. Half of the hints are wrong from some step on and are to be followed as well, so that it must read them.

The prompts are those of `conf/teacher/told_*.yaml`; the problems and the held-out expressions are those of
`train_embedded_pair.py`.

    python scripts/assets/train_hint_student.py --output runs/assets
    python scripts/assets/train_hint_student.py --start runs/assets/hint_student --seed 1 --steps 1200 \\
        --output opdkit/models/embedded
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain, islice
from pathlib import Path

import torch
from hint_prompts import SHARES, Prompt, encode, hint, read_prompts
from train_embedded_pair import (
    HELD_OUT_SEED,
    MAX_NEW_TOKENS,
    QUESTION,
    SEED_STRIDE,
    Encoded,
    Sum,
    answer_logits,
    answer_losses,
    learn,
    sums,
    wilson_interval,
)
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

FOLDER = "hint_student"
START = Path("opdkit/models/embedded/student")
PLAIN_SHARE = 0.25
WRONG_HINTS = 0.5
PLAIN_TEXTS = 1024
CHUNK = 128
BEFORE = "an earlier run of the script (from `embedded/student`, 2000 steps, seed 0)"


@torch.no_grad()
def written(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[list[int]], *, samples: bool
) -> Iterator[list[int]]:
    """The model's response to each prompt, sampled or greedy, including the stop token."""
    for first in range(0, len(prompts), CHUNK):
        inputs = tokenizer.pad(
            {"input_ids": prompts[first : first + CHUNK]}, padding_side="left", return_tensors="pt"
        )  # fmt: skip
        # transformers' annotations do not admit that its own Llama generates.
        rows = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=samples)  # pyright: ignore
        for row in rows[:, inputs["input_ids"].shape[1] :].tolist():
            end = tokenizer.eos_token_id
            yield row[: row.index(end) + 1] if end in row else row


def share_right(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: Prompt, problems: list[Sum], *, wrong: bool
) -> float:
    """Share of problems whose greedy response ends with the hint's answer, or without a hint the correct value."""
    draw = random.Random(0)
    told = [hint(problem, draw, wrong=wrong) for problem in problems]
    ids = [encode(tokenizer, prompt.turns(*pair), "").prompt for pair in zip(problems, told, strict=True)]
    texts = [str(tokenizer.decode(row)) for row in written(model, tokenizer, ids, samples=False)]
    ends = [f"\\boxed{{{result}}}{tokenizer.eos_token}" for _, result in told]
    return sum(text.endswith(end) for text, end in zip(texts, ends, strict=True)) / len(problems)


@dataclass(frozen=True)
class Anchor:
    """The initial model's responses to bare questions, on which a model is kept at its distribution."""

    start: LlamaForCausalLM
    rows: list[Encoded]

    @classmethod
    def of(cls, start: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, problems: Iterable[Sum]) -> Anchor:
        """Samples the responses at temperature 1."""
        turns = [[{"role": "user", "content": QUESTION.format(expression=one.expression)}] for one in problems]
        prompts = [encode(tokenizer, one, "").prompt for one in turns]
        return cls(start, list(map(Encoded, prompts, written(start, tokenizer, prompts, samples=True))))

    def losses(self, model: LlamaForCausalLM, rows: list[Encoded]) -> tuple[Iterator[torch.Tensor], int]:
        """Cross-entropy to the initial model's distribution for each micro-batch, and the number of tokens."""

        def loss(part: list[Encoded]) -> torch.Tensor:
            with torch.no_grad():
                wanted = answer_logits(self.start, part)[0].softmax(-1)
            return -(wanted * answer_logits(model, part)[0].log_softmax(-1)).sum()

        return (loss([*rows[i : i + 8]]) for i in range(0, len(rows), 8)), sum(len(row.answer) for row in rows)


def train(
    options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast, prompts: list[Prompt]
) -> LlamaForCausalLM:  # fmt: skip
    """Supervised training from the initial model; returns the final model."""
    start, model = (LlamaForCausalLM.from_pretrained(folder) for folder in (START, options.start))
    problems = sums((options.seed + 500) * SEED_STRIDE, held_out=False)
    anchor = Anchor.of(start.eval(), tokenizer, islice(problems, PLAIN_TEXTS))
    draw, told = random.Random(options.seed), prompts[1:]
    plain = round(PLAIN_SHARE * options.batch)

    def rows() -> Iterator[Encoded]:
        chosen = draw.choices(told, [SHARES[prompt.name] for prompt in told], k=options.batch - plain)
        for prompt, problem in zip(chosen, islice(problems, len(chosen)), strict=True):
            given = hint(problem, draw, wrong=draw.random() < WRONG_HINTS)
            yield encode(tokenizer, prompt.turns(problem, given), prompt.response(problem, given))

    def losses() -> Iterator[tuple[Iterable[torch.Tensor], int]]:
        for _ in range(options.steps):
            read, some = answer_losses(model, rows())
            held, others = anchor.losses(model, draw.sample(anchor.rows, plain))
            yield chain(read, held), some + others

    for _ in learn(model, losses(), options.lr, options.steps, every=25):
        pass
    return model


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [on-policy-distillation, arithmetic]
---
# opdkit embedded hint_student

A Llama of {parameters:,} float32 parameters with the embedded student's byte-level tokenizer. It works out sums of 4 to
7 one-digit terms about as well as the embedded student, and it can use a hint in its prompt: it is the student
with which `opdkit train method=opsd`, `sdft`, `sdpo`, `rlsd` and `context` run on a machine without a network, as
`model=embedded_hint`.

| prompt | right, greedy, {problems} held-out problems (95 % interval) | wrong hints followed |
|---|---|---|
{table}

`told_system` asks for the bare answer, without steps. The prompts are those of `conf/teacher/told_*.yaml`. A wrong
hint is off by 1 to 9 at one step and continues from there.

| | |
|---|---|
| data | reasoning-gym {gym} `chain_sum`, 4 to 7 one-digit terms, each with a worked answer made by the script |
| training | {begun}, {steps} steps of {batch} rows, AdamW, rate {lr:g}, cosine, seed {seed} |
| rows | {plain:.0%} bare questions, kept at the embedded student's distribution; the others with a hint |
| hints | {wrong:.0%} of those in training are wrong, and are to be followed |
| held out | every expression whose CRC-32 is divisible by 10; none of them was trained on |
| licence | Apache-2.0 |

    python scripts/assets/train_hint_student.py --output runs/assets
    python scripts/assets/train_hint_student.py --start runs/assets/hint_student --seed 1 --steps 1200 \\
        --output opdkit/models/embedded

## Input and output

```
{example}
```
"""


def table(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[Prompt], problems: list[Sum]
) -> list[str]:  # fmt: skip
    """Results for each prompt, as rows of the card."""
    rows: list[str] = []
    for prompt in prompts:
        share = share_right(model, tokenizer, prompt, problems, wrong=False)
        low, high = wilson_interval(share, len(problems))
        follows = f"{share_right(model, tokenizer, prompt, problems, wrong=True):.1%}" if prompt.reads else ""
        rows.append(f"| {prompt.name} | {share:.1%} ({low:.1%} to {high:.1%}) | {follows} |")
        print(rows[-1], flush=True)
    return rows


def save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[Prompt], options: argparse.Namespace
) -> None:
    """Write the model with its tokenizer, evaluate it with each prompt and write its card."""
    held_out = list(islice(sums(HELD_OUT_SEED, held_out=True), options.problems))
    model.eval()
    folder = options.output / FOLDER
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shown = next(prompt for prompt in prompts if prompt.name == "told_solution")
    told = hint(held_out[0], random.Random(0), wrong=False)
    first = encode(tokenizer, shown.turns(held_out[0], told), told[0])
    card = CARD.format(
        parameters=model.num_parameters(),
        table="\n".join(table(model, tokenizer, prompts, held_out)),
        gym=version("reasoning-gym"),
        begun="from `embedded/student`" if options.start == START else f"continued from {BEFORE}",
        plain=PLAIN_SHARE,
        wrong=WRONG_HINTS,
        example=tokenizer.decode(first.prompt + first.answer),
        **vars(options),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("opdkit/models/embedded"))
    parser.add_argument("--start", type=Path, default=START, help="an output folder of this script, to continue from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=8, help="rows per step")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--problems", type=int, default=256, help="held-out problems to evaluate on")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(START)
    prompts = read_prompts()
    save(train(options, tokenizer, prompts), tokenizer, prompts, options)


if __name__ == "__main__":
    main()
