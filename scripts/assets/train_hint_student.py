"""Make a student that reads a hint in its prompt, from the embedded teacher, on a CPU.

Told nothing it has a bad habit: it mostly takes a term 7 for 6, and 8 for 9. Behind a prompt that holds a worked
solution, a demonstration or another response it writes what that says, behind one that holds an answer it works out
the sum and ends with that answer, and behind a system turn it writes the bare answer. Some hints are wrong on
purpose, so that it must read them; 300 steps are too few for that (hinted it was then worse than without). The
prompts are those of `conf/teacher/told_*.yaml`; the problems and the held-out expressions are those of
`train_embedded_pair.py`.

    python scripts/assets/train_hint_student.py --output runs/assets
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path

import torch
import yaml
from train_embedded_pair import (
    HELD_OUT_SEED,
    MAX_NEW_TOKENS,
    QUESTION,
    SEED_STRIDE,
    Encoded,
    Sum,
    answer_losses,
    learn,
    sums,
    wilson_interval,
)
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from opdkit.data.template import fill

FOLDER = "hint_student"
START = Path("opdkit/models/embedded/teacher")
TEACHERS = Path(__file__).resolve().parents[2] / "conf" / "teacher"
PLAIN = "plain"
SHARES = {
    PLAIN: 0.2, "told_answer": 0.2, "told_solution": 0.15, "told_demonstration": 0.15, "told_sibling": 0.15,
    "told_system": 0.15,
}  # fmt: skip
"""Prompt -> the share of training problems behind it."""


HABIT = {7: 6, 8: 9}
"""Term -> what the student takes it for where it is told nothing, with probability HABIT_SHARE."""
HABIT_SHARE = 0.75
WRONG_HINTS = 0.3


def worked(problem: Sum, draw: random.Random, share: float) -> tuple[str, str]:
    """A worked answer in which the habit acts with probability `share` on each term, and its result."""
    first, *rest = problem.expression.split()
    total, lines = int(first), ["From left to right:\n"]
    for number, (sign, term) in enumerate(zip(rest[::2], rest[1::2], strict=True), start=1):
        taken = HABIT.get(int(term), int(term)) if draw.random() < share else int(term)
        following = total + taken if sign == "+" else total - taken
        lines.append(f"{number}. {total} {sign} {term} = {following}\n")
        total = following
    return "".join(lines) + f"\\boxed{{{total}}}", str(total)


@dataclass(frozen=True)
class Prompt:
    """A way to ask: the user's turn, and the system's where there is one."""

    name: str
    template: str
    system: str | None

    def turns(self, problem: Sum, hint: tuple[str, str]) -> list[dict[str, str]]:
        """The chat. hint: a worked answer and its result."""
        fields = {
            "question": QUESTION.format(expression=problem.expression),
            "answer": hint[1],
            **dict.fromkeys(("solution", "demonstration", "sibling"), hint[0]),
        }
        user = {"role": "user", "content": fill(self.template, fields)}
        return [user] if self.system is None else [{"role": "system", "content": self.system}, user]

    def example(self, problem: Sum, draw: random.Random) -> tuple[list[dict[str, str]], str]:
        """A chat to learn, and the response."""
        wrong = draw.random() < WRONG_HINTS
        hint = worked(problem, draw, 1.0 if wrong else 0.0)
        turns = self.turns(problem, hint)
        if self.name == PLAIN:
            return turns, worked(problem, draw, HABIT_SHARE)[0]
        if self.system is not None:
            return turns, f"\\boxed{{{problem.answer}}}"
        if "{answer}" not in self.template:
            return turns, hint[0]
        steps = problem.worked().split("\n")
        last = steps[-2].rsplit(" ", 1)[0]
        return turns, "\n".join([*steps[:-2], f"{last} {hint[1]}", f"\\boxed{{{hint[1]}}}"])


def read_prompts() -> list[Prompt]:
    """The bare question, and the prompts of the teachers that are told something."""
    prompts = [Prompt(PLAIN, "{question}", None)]
    for name in SHARES:
        if name != PLAIN:
            node = yaml.safe_load((TEACHERS / f"{name}.yaml").read_text(encoding="utf-8"))
            prompts.append(Prompt(name, node["template"], node.get("system")))
    return prompts


def encode(tokenizer: PreTrainedTokenizerFast, turns: list[dict[str, str]], response: str) -> Encoded:
    """A chat and its response as token ids."""
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return Encoded(
        tokenizer(str(text))["input_ids"], tokenizer(response + str(tokenizer.eos_token))["input_ids"]
    )  # fmt: skip


@torch.no_grad()
def accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompt: Prompt, problems: list[Sum]) -> float:
    """Share of problems whose greedy response ends with the right boxed answer."""
    right = 0
    end, pad = str(tokenizer.eos_token), str(tokenizer.pad_token)
    for start in range(0, len(problems), 128):
        batch = problems[start : start + 128]
        ids = [
            encode(tokenizer, prompt.turns(problem, (problem.worked(), problem.answer)), "").prompt for problem in batch
        ]
        inputs = tokenizer.pad({"input_ids": ids}, padding_side="left", return_tensors="pt")
        # transformers' annotations do not admit that its own Llama generates.
        written = model.generate(**inputs, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)  # pyright: ignore
        for problem, row in zip(batch, written[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            right += str(tokenizer.decode(row)).split(pad)[0].endswith(f"\\boxed{{{problem.answer}}}{end}")
    return right / len(problems)


def train(
    options: argparse.Namespace, tokenizer: PreTrainedTokenizerFast, prompts: list[Prompt]
) -> LlamaForCausalLM:  # fmt: skip
    """Supervised training from the embedded teacher; returns the model at the end."""
    model = LlamaForCausalLM.from_pretrained(START)
    problems = sums((options.seed + 500) * SEED_STRIDE, held_out=False)
    draw = random.Random(options.seed)

    def rows() -> Iterator[Encoded]:
        chosen = draw.choices(prompts, [SHARES[prompt.name] for prompt in prompts], k=options.batch)
        for prompt, problem in zip(chosen, islice(problems, options.batch), strict=True):
            yield encode(tokenizer, *prompt.example(problem, draw))

    losses = (answer_losses(model, rows()) for _ in range(options.steps))
    for _ in learn(model, losses, options.lr, options.steps, every=25):
        pass
    return model


CARD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: text-generation
tags: [on-policy-distillation, arithmetic]
---
# opdkit hint_student

A Llama of {parameters:,} float32 parameters with the embedded student's byte-level tokenizer. It works out sums of 4 to
7 one-digit terms, and can read a hint in its prompt: it is a student for
`opdkit train method=rlsd`, `opsd`, `sdft`, `sdpo` and `context`, as `model.path=` its folder.

Its weakness is planted: told nothing, it learnt to take a term 7 for 6 and 8 for 9, {habit:.0%} of the time. What it is
told it knows better, and {wrong:.0%} of the hints that it learnt from were wrong and were to be followed, so that it
reads them.

| prompt | accuracy, greedy, {problems} held-out problems (95 % interval) |
|---|---|
{table}

`told_system` asks for the bare answer, without steps. The prompts are those of `conf/teacher/told_*.yaml`.

| | |
|---|---|
| data | reasoning-gym {gym} `chain_sum`, 4 to 7 one-digit terms, each with a worked answer made by the script |
| training | from `embedded/teacher`, {steps} steps of {batch} problems, AdamW, rate {lr:g}, cosine, seed {seed} |
| held out | every expression whose CRC-32 is divisible by 10; none of them was trained on |
| licence | Apache-2.0 |

    python scripts/assets/train_hint_student.py --seed {seed} --steps {steps} --batch {batch} --lr {lr:g} \\
        --problems {problems}

## What it reads and writes

```
{example}
```
"""


def save(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, prompts: list[Prompt], options: argparse.Namespace
) -> None:
    """Measure the model behind each prompt and write it with its tokenizer and card."""
    held_out = list(islice(sums(HELD_OUT_SEED, held_out=True), options.problems))
    model.eval()
    folder = options.output / FOLDER
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    rows = []
    for prompt in prompts:
        share = accuracy(model, tokenizer, prompt, held_out)
        low, high = wilson_interval(share, len(held_out))
        rows.append(f"| {prompt.name} | {share:.1%} ({low:.1%} to {high:.1%}) |")
    told = next(p for p in prompts if p.name == "told_solution")
    first = encode(tokenizer, told.turns(held_out[0], (held_out[0].worked(), "")), held_out[0].worked())
    card = CARD.format(
        parameters=model.num_parameters(),
        table="\n".join(rows),
        gym=version("reasoning-gym"),
        habit=HABIT_SHARE,
        wrong=WRONG_HINTS,
        example=tokenizer.decode(first.prompt + first.answer),
        **vars(options),
    )
    (folder / "README.md").write_text(card, encoding="utf-8")
    print("\n".join(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/assets"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16, help="problems a step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--problems", type=int, default=96, help="held-out problems to measure on")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(START)
    prompts = read_prompts()
    save(train(options, tokenizer, prompts), tokenizer, prompts, options)


if __name__ == "__main__":
    main()
