"""Algebraic equality of two answers, through math-verify. Imported by the grading worker alone."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify

from opdkit.tasks.normal_form import split_assignment

_CONFIG = (LatexExtractionConfig(boxed_match_priority=0),)
_JOINED = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\s+(?:and|or)\s+|,\s*(?:and|or)\s+")
_REWRITES = (
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r" \\cdot "),
    (re.compile(r"(?<![A-Za-z\\])(pi|infty)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])infinity(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\$"), ""),
)


def equivalent(answer: str, reference: str) -> bool:
    """Whether two tidied answers are the same number, expression, set, interval, matrix or relation.

    The order of a tuple matters and that of a set or a list does not; `x = 5` answers `5`.
    May take any time and any memory: the caller sets the limits.
    """
    if not (_balanced(answer) and _balanced(reference)):
        return False
    gold, ours = _parse(_prepare(reference)), _parse(_prepare(answer))
    return _kinds_agree(answer, reference) and bool(gold and ours) and verify(gold, ours, timeout_seconds=None)


def _prepare(text: str) -> str:
    text = _JOINED.sub(", ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return text.strip()


@lru_cache(maxsize=256)
def _parse(text: str) -> list[Any]:
    return parse(f"\\boxed{{{text}}}", extraction_config=_CONFIG, parsing_timeout=None)


def _kinds_agree(answer: str, reference: str) -> bool:
    """A tuple is not the set of its entries: math-verify reads a bare list as a set, so `(2,1)` would pass as `1,2`."""
    kinds = {kind for kind in (_kind(answer), _kind(reference)) if kind}
    return kinds != {"tuple", "set"}


def _kind(text: str) -> str | None:
    _, body = split_assignment(text)
    if body.startswith("(") and body.endswith(")") and "," in body:
        return "tuple"
    return "set" if body.startswith("\\{") and body.endswith("\\}") else None


def _balanced(text: str) -> bool:
    depth = 0
    for token in re.findall(r"\\.|[{}]", text):
        depth += (token == "{") - (token == "}")
        if depth < 0:
            return False
    return depth == 0
