"""A rule-based stand-in for a language model: solves sums, with the messages and JSON of a real one.

It runs the rubric and judge rewards on the embedded sums instantly and offline. It reads only the prompt, never the
gold answer, so that a reward with an incomplete prompt also fails with it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from opdkit.text.base import Chat, TextModel
from opdkit.text.exchanges import ExchangeLog
from opdkit.text.quoting import unfenced
from opdkit.text.recorded import RecordedModel
from opdkit.text.script import Script

_EXPRESSION = re.compile(r"\d{1,9}(?:\s*[-+]\s*\d{1,9}){1,40}")
EQUATION = re.compile(r"(-?\d{1,12}) ?([-+]) ?(-?\d{1,12}) ?= ?(-?\d{1,12})\b")
BOX = re.compile(r"\\boxed\{([^{}]*)\}")
_NO_SUM = "I am a script that knows sums alone, and this asks for something else."


@dataclass(frozen=True)
class SumsScript:
    """Writes rubrics, verdicts, scores and worked solutions for sums and differences of whole numbers."""

    def open(self, record: Path | None) -> TextModel:
        """See `TextSpec`."""
        return RecordedModel(Script("sums_script", answer), ExchangeLog(record))


@dataclass(frozen=True)
class Sum:
    """A problem and one response, as used by the criteria.

    Attributes:
        value: value of the problem's expression.
        equations: the response's equations: left, sign, right, result.
        boxes: contents of its boxes.
    """

    value: int
    equations: tuple[tuple[int, str, int, int], ...]
    boxes: tuple[str, ...]

    @property
    def right(self) -> bool:
        """Whether the last box contains the value."""
        return bool(self.boxes) and self.boxes[-1].strip() == str(self.value)

    def true_equations(self) -> int:
        """Number of true equations."""
        return sum((a + b if sign == "+" else a - b) == c for a, sign, b, c in self.equations)


CRITERIA: Mapping[str, tuple[int, Callable[[Sum], bool]]] = {
    "The boxed answer is the value of the expression.": (5, lambda s: s.right),
    "Every equation that the response writes is true.": (3, lambda s: s.true_equations() == len(s.equations)),
    "The response writes at least one intermediate equation.": (2, lambda s: len(s.equations) > 0),
    "The boxed answer is the result of the last equation.": (
        2,
        lambda s: bool(s.boxes and s.equations) and s.boxes[-1].strip() == str(s.equations[-1][3]),
    ),
    "The response holds one box, with a whole number in it.": (
        1,
        lambda s: len(s.boxes) == 1 and re.fullmatch(r"-?\d+", s.boxes[0].strip()) is not None,
    ),
}
"""Criterion -> its weight and how it is decided."""


def answer(chat: Chat) -> str:
    """The script's answer to a chat, by the title of its required schema."""
    prompt = chat.messages[-1].content
    parts = unfenced(prompt)
    value = evaluate(parts.get("problem", prompt))
    if value is None:
        return _NO_SUM
    title = chat.schema.get("title") if chat.schema is not None else None
    responses = [parts[name] for name in parts if name.startswith("response ")]
    sums = [read(value, text) for text in responses]
    if title is None:
        return worked_solution(prompt)
    if title == "rubric":
        criteria = [{"criterion": text, "weight": weight} for text, (weight, _) in CRITERIA.items()]
        return json.dumps({"criteria": criteria})
    if title == "verdicts":
        asked = [parts[name] for name in parts if name.startswith("criterion ")]
        rows = [[text in CRITERIA and CRITERIA[text][1](one) for text in asked] for one in sums]
        return json.dumps({"verdicts": [{"response": i + 1, "passed": row} for i, row in enumerate(rows)]})
    if title == "scores":
        return json.dumps({"scores": [{"response": i + 1, "score": score(one)} for i, one in enumerate(sums)]})
    return _NO_SUM


def evaluate(text: str) -> int | None:
    """The value of the first sum in a text, None without one."""
    found = _EXPRESSION.search(text)
    if found is None:
        return None
    terms = re.findall(r"([-+]?)\s*(\d+)", found.group())
    return sum(-int(digits) if sign == "-" else int(digits) for sign, digits in terms)


def read(value: int, response: str) -> Sum:
    """Parses a response to a problem of that value."""
    equations = [(int(a), sign, int(b), int(c)) for a, sign, b, c in EQUATION.findall(response)]
    return Sum(value, tuple(equations), tuple(BOX.findall(response)))


def score(one: Sum) -> int:
    """0 to 10: 10 for the right answer, else up to 5 by the fraction of true equations."""
    if one.right:
        return 10
    return round(5 * one.true_equations() / len(one.equations)) if one.equations else 0


def worked_solution(text: str) -> str:
    """The sum worked from left to right, with a boxed value."""
    found = _EXPRESSION.search(text)
    if found is None:
        return _NO_SUM
    total: int | None = None
    steps: list[str] = []
    for sign, digits in re.findall(r"([-+]?)\s*(\d+)", found.group()):
        if total is None:
            total = int(digits)
            continue
        after = total - int(digits) if sign == "-" else total + int(digits)
        steps.append(f"{len(steps) + 1}. {total} {sign} {digits} = {after}")
        total = after
    return "From left to right:\n" + "\n".join(steps) + f"\n\\boxed{{{total}}}"
