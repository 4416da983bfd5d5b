"""Algebraic equality of two answers, through math-verify. Imported by the grading worker alone."""

from __future__ import annotations

import re
from cmath import isfinite
from functools import lru_cache
from typing import Any

from math_verify import LatexExtractionConfig, parse, verify
from sympy import Expr, Interval, Rational, Union

from opdkit.tasks.normal_form import split_assignment

_CONFIG = (LatexExtractionConfig(boxed_match_priority=0),)
_JOINED = re.compile(r"\\text\s*\{\s*(?:and|or)\s*\}|\s+(?:and|or)\s+|,\s*(?:and|or)\s+")
_SPACED_DIGITS = re.compile(r"\d\s+\d")  # two numbers side by side, which math-verify would add
_PRIMES = (11, 13, 17, 19, 23, 29)
_CLEARLY_APART = 1e-5
_REWRITES = (
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"\*"), r" \\cdot "),
    (re.compile(r"(?<![A-Za-z\\])(pi|infty)(?![A-Za-z])"), r"\\\1 "),
    (re.compile(r"(?<![A-Za-z\\])infinity(?![A-Za-z])"), r"\\infty "),
    (re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|cot|sec|csc|ln|log|exp)(?=\s*[\d({^\\])"), r"\\\1"),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\$"), ""),
)


def equivalent(answer: str, reference: str) -> bool:
    """Whether two tidied answers are the same number, expression, set, interval, matrix or relation.

    The order of a tuple matters and that of a set or a list does not; `x = 5` answers `5`.
    May take any time and any memory: the caller sets the limits.
    """
    if not (_balanced(answer) and _balanced(reference)) or _SPACED_DIGITS.search(answer):
        return False
    gold, ours = _parse(_prepare(reference)), _parse(_prepare(answer))
    if not gold or not ours or not _kinds_agree(answer, reference) or _refuted(gold[0], ours[0]):
        return False
    return verify(gold, ours, timeout_seconds=None)


def _refuted(gold: object, ours: object) -> bool:
    """Whether two expressions differ at a point, which is cheaper to see than that they agree everywhere.

    Wrong answers are the common case, and `simplify` spends a hundred times as long on them.
    """
    if not isinstance(gold, Expr) or not isinstance(ours, Expr):
        numbers = [side for side in (gold, ours) if isinstance(side, Expr) and side.is_number]
        return bool(numbers) and any(isinstance(side, Interval | Union) for side in (gold, ours))
    symbols = sorted(gold.free_symbols | ours.free_symbols, key=str)
    point = [(symbol, Rational(prime, 7)) for symbol, prime in zip(symbols, _PRIMES, strict=False)]
    if len(point) < len(symbols):
        return False
    try:
        values = [complex(side.subs(point).evalf(15)) for side in (gold, ours)]
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError):
        return False
    difference, size = abs(values[0] - values[1]), max(map(abs, values))
    return isfinite(size) and difference > _CLEARLY_APART * max(size, 1.0)


def _prepare(text: str) -> str:
    text = _JOINED.sub(", ", text)
    for pattern, replacement in _REWRITES:
        text = pattern.sub(replacement, text)
    return _root_braces(text).strip()


def _root_braces(text: str) -> str:
    """`sqrt(x+1)` as `\\sqrt{x+1}`."""
    while (match := re.search(r"(?<![A-Za-z])\\?sqrt\s*\(", text)) is not None:
        depth, end = 1, match.end()
        while end < len(text) and depth:
            depth += (text[end] == "(") - (text[end] == ")")
            end += 1
        if depth:
            break
        text = f"{text[: match.start()]}\\sqrt{{{text[match.end() : end - 1]}}}{text[end:]}"
    return text


@lru_cache(maxsize=256)
def _parse(text: str) -> list[Any]:
    return parse(f"\\boxed{{{text}}}", extraction_config=_CONFIG, parsing_timeout=0)


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
