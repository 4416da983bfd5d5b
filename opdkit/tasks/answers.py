"""Extracts gold answers from reference texts and grades responses by them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.grading.extraction import extract_answer
from opdkit.grading.grade import grade_mathematics
from opdkit.grading.tolerance import split_tolerances, within
from opdkit.tasks.files import Place

BOXED = "boxed"


def bare_answer(place: Place, text: str, pattern: str | None) -> str:
    """The gold answer of `text`: the first group of `pattern` at its last match, the content of the last box (`boxed`),
    or the whole text (None). Raises UserError if the pattern does not match."""
    if pattern is None:
        return text.strip()
    if pattern == BOXED:
        return (extract_answer(text) if "\\boxed" in text else text.strip()) or text.strip()
    found = re.findall(pattern, text)
    if not found or not found[-1].strip():
        raise UserError(f"{place}: no answer: answer_pattern={pattern!r} is not in {_short(text)}")
    return found[-1].strip()


def grade_answers(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    """Grades of (response, reference) pairs; see `grade_mathematics`. References may have tolerances."""
    split = [split_tolerances(reference) for _, reference in pairs]
    answers = [(response, bare) for (response, _), (bare, _) in zip(pairs, split, strict=True)]
    grades = grade_mathematics(answers)
    for place, (bare, tolerances) in enumerate(split):
        extracted = grades[place].extracted
        if tolerances and extracted and not grades[place].correct and within(extracted, bare, tolerances):
            grades[place] = Grade.of(True, extracted)
    return grades


def check_pattern(key: str, pattern: str | None, groups: int | None = None) -> None:
    """Raises UserError for an invalid regular expression or one without exactly one group."""
    try:
        compiled = re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"{key}={pattern!r} is not a regular expression: {error}") from None
    if groups is not None and pattern is not None and compiled.groups != groups:
        raise UserError(f"{key}={pattern!r}; allowed: a pattern with one group, or {BOXED}")


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else "..." + text[-57:])
