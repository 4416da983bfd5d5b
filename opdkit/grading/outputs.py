"""Compares a program's output, or its function's return value, with what a test expects."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import cast

_NUMBER = re.compile(r"[+-]?(?:\d{1,5000}\.?\d{0,5000}|\.\d{1,5000})(?:[eE][+-]?\d{1,4})?", re.ASCII)
_WITH_FRACTION = re.compile(r"[.eE]")
_DEEPEST = 200


def same_output(printed: str, expected: str, tolerance: float = 0.0) -> bool:
    """Whether two outputs are equal by LiveCodeBench's rules.

    White space around the output and around each line is ignored. Two lines are equal if their texts are, or if both
    are white-space separated numbers of equal values: 1.0 is 1. tolerance: absolute or relative tolerance for
    numbers whose expected value has a fraction or an exponent.
    """
    ours, theirs = _lines(printed), _lines(expected)
    return len(ours) == len(theirs) and all(
        one == other or _same_numbers(one, other, tolerance) for one, other in zip(ours, theirs, strict=True)
    )


def same_value(found: object, expected: object, tolerance: float = 0.0, loose: bool = False) -> bool:
    """Whether two built-in values are equal. loose: tuples equal lists, for tests in JSON."""
    return _same(_listed(found) if loose else found, _listed(expected) if loose else expected, tolerance, 0)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _same_numbers(ours: str, theirs: str, tolerance: float) -> bool:
    one, other = ours.split(), theirs.split()
    return len(one) == len(other) and all(_same_number(*pair, tolerance) for pair in zip(one, other, strict=True))


def _same_number(ours: str, theirs: str, tolerance: float) -> bool:
    if not _NUMBER.fullmatch(ours) or not _NUMBER.fullmatch(theirs):
        return False
    if Decimal(ours) == Decimal(theirs):
        return True
    return bool(tolerance and _WITH_FRACTION.search(theirs)) and _near(float(ours), float(theirs), tolerance)


def _near(found: float, expected: float, tolerance: float) -> bool:
    return abs(found - expected) <= tolerance * max(1.0, abs(expected))


def _same(found: object, expected: object, tolerance: float, depth: int) -> bool:
    if depth > _DEEPEST:
        return False
    if tolerance and isinstance(expected, float) and isinstance(found, int | float):
        return found == expected or (abs(found) < 1e300 and _near(float(found), expected, tolerance))
    if isinstance(expected, list | tuple):
        if type(found) is not type(expected):
            return False
        ours, theirs = cast("list[object]", found), cast("list[object]", expected)
        return len(ours) == len(theirs) and all(
            _same(one, other, tolerance, depth + 1) for one, other in zip(ours, theirs, strict=True)
        )
    if isinstance(expected, dict) and isinstance(found, dict):
        ours_by, theirs_by = cast("dict[object, object]", found), cast("dict[object, object]", expected)
        return ours_by.keys() == theirs_by.keys() and all(
            _same(ours_by[key], value, tolerance, depth + 1) for key, value in theirs_by.items()
        )
    return found == expected


def _listed(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_listed(one) for one in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: _listed(one) for key, one in cast("dict[object, object]", value).items()}
    return value
