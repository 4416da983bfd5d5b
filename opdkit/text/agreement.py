"""A rule-based judge that reads answers: its criteria are what the teacher's answers to a problem agree on.

It does no arithmetic. A wrong teacher answer enters its rubric unless others contradict it, so that its inputs matter
as they do for a language model, whose messages and JSON it uses.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opdkit.text.base import Chat, TextModel
from opdkit.text.exchanges import ExchangeLog
from opdkit.text.quoting import unfenced
from opdkit.text.recorded import RecordedModel
from opdkit.text.script import Script
from opdkit.text.scripted import BOX, EQUATION

LEAST, MOST_RESULTS = 4, 7
_VALUE, _RESULT = "The boxed answer is {}.", "The response reaches the intermediate result {}."
_NAMED = re.compile(r"The (boxed answer is|response reaches the intermediate result) (.+)\.")
_NO_JUDGE = "I am a script that writes rubrics and verdicts, and this asks for something else."


@dataclass(frozen=True)
class AgreementScript:
    """Writes rubrics from what boxed, worked answers agree on, and judges them."""

    def open(self, record: Path | None) -> TextModel:
        """See `TextSpec`."""
        return RecordedModel(Script("agreement_script", answer), ExchangeLog(record))


@dataclass(frozen=True)
class Written:
    """The parts of an answer.

    Attributes:
        starts: the left operand of each equation.
        results: the right side of each equation.
        box: the content of its last box, "" without one.
        boxes: number of boxes.
    """

    starts: tuple[str, ...]
    results: tuple[str, ...]
    box: str
    boxes: int

    @classmethod
    def of(cls, text: str) -> Written:
        """Parses an answer."""
        equations, boxes = EQUATION.findall(text), BOX.findall(text)
        left, right = tuple(one[0] for one in equations), tuple(one[3] for one in equations)
        return cls(left, right, boxes[-1].strip() if boxes else "", len(boxes))


FORMS: Mapping[str, Callable[[Written], bool]] = {
    "The boxed answer is the result of the last equation.": lambda w: bool(w.results) and w.box == w.results[-1],
    "Each equation begins with the result of the one before it.": lambda w: w.starts[1:] == w.results[:-1],
    "The response writes at least one intermediate equation.": lambda w: bool(w.results),
    "The response holds one box, with a whole number in it.": (
        lambda w: w.boxes == 1 and re.fullmatch(r"-?\d+", w.box) is not None
    ),
}
"""Criteria of weight 1 that hold of any sound answer, and how each is decided."""


def answer(chat: Chat) -> str:
    """The script's answer to a chat, by the title of its required schema."""
    parts = unfenced(chat.messages[-1].content)
    title = chat.schema.get("title") if chat.schema is not None else None

    def read(name: str) -> list[Written]:
        return [Written.of(text) for part, text in parts.items() if part.startswith(f"{name} ")]

    if title == "rubric":
        criteria = rubric(read("teacher"), read("student"))
        return json.dumps({"criteria": [{"criterion": text, "weight": weight} for text, weight in criteria]})
    if title == "verdicts":
        asked = [text for part, text in parts.items() if part.startswith("criterion ")]
        rows = [[meets(text, one) for text in asked] for one in read("response")]
        return json.dumps({"verdicts": [{"response": i + 1, "passed": row} for i, row in enumerate(rows)]})
    return _NO_JUDGE


def rubric(teachers: Sequence[Written], students: Sequence[Written]) -> list[tuple[str, int]]:
    """Criteria and weights. Criteria met by every student answer are kept only to reach LEAST.

    The final value is the one that most teacher answers box, omitted on a tie. An intermediate result is one that more
    than half of them reach.
    """
    boxed = Counter(one.box for one in teachers if re.fullmatch(r"-?\d{1,12}", one.box)).most_common(2)
    decided = len(boxed) == 1 or (len(boxed) == 2 and boxed[0][1] > boxed[1][1])
    reached = Counter(result for one in teachers for result in dict.fromkeys(one.results[:-1]))
    agreed = [result for result, count in reached.items() if 2 * count > len(teachers)][:MOST_RESULTS]
    criteria = [(_VALUE.format(boxed[0][0]), 5)] if decided else []
    criteria += [(_RESULT.format(result), 2) for result in agreed]
    criteria += [(text, 1) for text in FORMS]
    failed = [text for text, _ in criteria if not all(meets(text, one) for one in students)]
    spare = [text for text, _ in criteria if text not in failed][: max(0, LEAST - len(failed))]
    return [(text, weight) for text, weight in criteria if text in failed or text in spare]


def meets(criterion: str, one: Written) -> bool:
    """Whether an answer meets a criterion of `rubric`; unknown criteria are not met."""
    if criterion in FORMS:
        return FORMS[criterion](one)
    named = _NAMED.fullmatch(criterion)
    if named is None:
        return False
    return one.box == named[2] if named[1].startswith("boxed") else named[2] in one.results[:-1]
