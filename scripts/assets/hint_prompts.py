"""Training data of the student that reads a hint: prompts, hints and responses as token ids.

The prompts are those of `conf/teacher/told_*.yaml`; the problems are those of `train_embedded_pair.py`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import yaml
from train_embedded_pair import QUESTION, Encoded, Sum
from transformers import PreTrainedTokenizerFast

from opdkit.data.template import fill

TEACHERS = Path(__file__).resolve().parents[2] / "conf" / "teacher"
PLAIN = "plain"
SHARES = {
    "told_answer": 0.25, "told_solution": 0.2, "told_demonstration": 0.2, "told_sibling": 0.2, "told_system": 0.15,
}  # fmt: skip
"""Prompt -> its share of the problems with a hint."""


def hint(problem: Sum, draw: random.Random, *, wrong: bool) -> tuple[str, str]:
    """A worked answer and its result. A wrong one is off by 1 to 9 at one step and continues from there."""
    first, *rest = problem.expression.split()
    total, lines = int(first), ["From left to right:\n"]
    slip = draw.randint(1, len(rest) // 2) if wrong else 0
    for number, (sign, term) in enumerate(zip(rest[::2], rest[1::2], strict=True), start=1):
        following = total + int(term) if sign == "+" else total - int(term)
        if number == slip:
            following += draw.choice((-1, 1)) * draw.randint(1, 9)
        lines.append(f"{number}. {total} {sign} {term} = {following}\n")
        total = following
    return "".join(lines) + f"\\boxed{{{total}}}", str(total)


@dataclass(frozen=True)
class Prompt:
    """A prompt: the user turn, and the system turn if there is one."""

    name: str
    template: str
    system: str | None

    @property
    def reads(self) -> bool:
        """Whether it contains a hint."""
        return self.template != "{question}"

    def turns(self, problem: Sum, told: tuple[str, str]) -> list[dict[str, str]]:
        """The chat. told: a worked answer and its result."""
        fields = {
            "question": QUESTION.format(expression=problem.expression),
            "answer": told[1],
            **dict.fromkeys(("solution", "demonstration", "sibling"), told[0]),
        }
        user = {"role": "user", "content": fill(self.template, fields)}
        return [user] if self.system is None else [{"role": "system", "content": self.system}, user]

    def response(self, problem: Sum, told: tuple[str, str]) -> str:
        """The target response."""
        if self.system is not None:
            return f"\\boxed{{{problem.answer}}}"
        if "{answer}" not in self.template:
            return told[0]
        *steps, last, _ = problem.worked().split("\n")
        return "\n".join([*steps, f"{last.rsplit(' ', 1)[0]} {told[1]}", f"\\boxed{{{told[1]}}}"])


def read_prompts() -> list[Prompt]:
    """The bare question, and the prompts of the privileged teachers."""
    nodes = {name: yaml.safe_load((TEACHERS / f"{name}.yaml").read_text(encoding="utf-8")) for name in SHARES}
    told = [Prompt(name, node["template"], node.get("system")) for name, node in nodes.items()]
    return [Prompt(PLAIN, "{question}", None), *told]


def encode(tokenizer: PreTrainedTokenizerFast, turns: list[dict[str, str]], response: str) -> Encoded:
    """A chat and its response as token ids."""
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    answer = tokenizer(response + str(tokenizer.eos_token))["input_ids"]
    return Encoded(tokenizer(str(text))["input_ids"], answer)
