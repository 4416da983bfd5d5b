"""Schemas and parsers of a judge's answers. Any other answer is a `JudgeError`.

Answers are untrusted: they are bounded, parsed as JSON and validated key by key against the requested schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opdkit.text.quoting import strip_reasoning

LEAST_CRITERIA, MOST_CRITERIA = 4, 12
LARGEST_WEIGHT = 5
LARGEST_SCORE = 10
_LONGEST_ANSWER = 100_000
_LONGEST_CRITERION = 1000
_CODE_FENCE = re.compile(r"```(?:json)?[ \t]*\n(.*)\n```", re.DOTALL | re.IGNORECASE)


class JudgeError(Exception):
    """An invalid answer of a judge. `reason`: no_answer, too_long, not_json or wrong_form."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Criterion:
    """One criterion of a rubric.

    Attributes:
        text: the requirement.
        weight: 1 to 5.
    """

    text: str
    weight: int


def rubric_schema() -> Mapping[str, object]:
    """The JSON schema of a rubric."""
    weight = {"type": "integer", "minimum": 1, "maximum": LARGEST_WEIGHT}
    return _list_of(
        "rubric", "criteria", {"criterion": {"type": "string"}, "weight": weight}, LEAST_CRITERIA, MOST_CRITERIA
    )


def verdicts_schema(responses: int, criteria: int) -> Mapping[str, object]:
    """The JSON schema of booleans for each response."""
    passed = {"type": "array", "items": {"type": "boolean"}, "minItems": criteria, "maxItems": criteria}
    return _list_of("verdicts", "verdicts", {"response": {"type": "integer"}, "passed": passed}, responses, responses)


def scores_schema(responses: int) -> Mapping[str, object]:
    """The JSON schema of one number for each response."""
    score = {"type": "integer", "minimum": 0, "maximum": LARGEST_SCORE}
    return _list_of("scores", "scores", {"response": {"type": "integer"}, "score": score}, responses, responses)


def read_rubric(answer: str | None) -> tuple[Criterion, ...]:
    """The criteria of a rubric, distinct and in order. Raises JudgeError."""
    rows = _rows(answer, "criteria", ("criterion", "weight"))
    _require(LEAST_CRITERIA <= len(rows) <= MOST_CRITERIA)
    criteria = tuple(
        Criterion(_criterion_text(row["criterion"]), _whole(row["weight"], 1, LARGEST_WEIGHT)) for row in rows
    )
    _require(len({" ".join(one.text.casefold().split()) for one in criteria}) == len(criteria))
    return criteria


def read_verdicts(answer: str | None, responses: int, criteria: int) -> list[list[bool]]:
    """`criteria` booleans for each of `responses` responses, in their order. Raises JudgeError."""
    rows = _by_response(_rows(answer, "verdicts", ("response", "passed")), responses)
    found = [row["passed"] for row in rows]
    _require(all(isinstance(passed, list) and len(passed) == criteria for passed in found))
    _require(all(value is True or value is False for passed in found for value in passed))
    return found


def read_scores(answer: str | None, responses: int) -> list[int]:
    """A number from 0 to 10 for each of `responses` responses, in their order. Raises JudgeError."""
    rows = _by_response(_rows(answer, "scores", ("response", "score")), responses)
    return [_whole(row["score"], 0, LARGEST_SCORE) for row in rows]


def _list_of(title: str, name: str, fields: Mapping[str, object], least: int, most: int) -> Mapping[str, object]:
    row = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    rows = {"type": "array", "items": row, "minItems": least, "maxItems": most}
    outer = {"type": "object", "properties": {name: rows}, "required": [name], "additionalProperties": False}
    return {"title": title, **outer}


def _rows(answer: str | None, name: str, fields: Sequence[str]) -> list[dict[str, Any]]:
    """The list under the answer's only key, whose entries must be objects with exactly these fields."""
    read = _json(answer)
    _require(isinstance(read, dict) and list(read) == [name] and isinstance(read[name], list))
    rows: list[Any] = read[name]
    _require(all(isinstance(row, dict) and sorted(row) == sorted(fields) for row in rows))
    return rows


def _json(answer: str | None) -> Any:
    if answer is None:
        raise JudgeError("no_answer")
    if len(answer) > _LONGEST_ANSWER:
        raise JudgeError("too_long")
    text = strip_reasoning(answer)
    if (block := _CODE_FENCE.fullmatch(text)) is not None:
        text = block.group(1)
    try:
        return json.loads(text, object_pairs_hook=_distinct, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise JudgeError("not_json") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a key stands twice")
    return read


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _by_response(rows: list[dict[str, Any]], responses: int) -> list[dict[str, Any]]:
    """The entries sorted by their numbers, which must be 1 to `responses`, each once."""
    _require(all(type(row["response"]) is int for row in rows))
    ordered = sorted(rows, key=lambda row: row["response"])
    _require([row["response"] for row in ordered] == list(range(1, responses + 1)))
    return ordered


def _criterion_text(value: Any) -> str:
    _require(isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST_CRITERION)
    return value.strip()


def _whole(value: Any, least: int, most: int) -> int:
    _require(type(value) is int and least <= value <= most)
    return value


def _require(holds: bool) -> None:
    if not holds:
        raise JudgeError("wrong_form")
