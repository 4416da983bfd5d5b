"""Compares numbers with a tolerance stated by the dataset, written `12.3 (tolerance 0.1)`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from opdkit.grading.chains import stated_values
from opdkit.grading.normal_form import read_number, tidy
from opdkit.grading.shapes import items_of
from opdkit.grading.values import double, number_value

_NUMBER = r"\d{1,20}(?:\.\d{1,20})?(?:e[+-]?\d{1,3})?"
_REFERENCE = re.compile(rf"(.*) \(tolerance ({_NUMBER}(?:, {_NUMBER})*)\)", re.DOTALL)
_ROUNDING = 1e-9


def read_tolerances(text: str) -> tuple[float, ...]:
    """The numbers of `0.1` or `0.1,0.2`. Raises ValueError for an invalid tolerance."""
    tolerances = tuple(map(float, text.split(",")))
    if not all(math.isfinite(tolerance) and tolerance >= 0 for tolerance in tolerances):
        raise ValueError(text)
    return tolerances


def with_tolerances(reference: str, tolerances: Sequence[float]) -> str:
    """The reference with its tolerances: one for all entries, or one per entry."""
    return f"{reference} (tolerance {', '.join(f'{tolerance:g}' for tolerance in tolerances)})"


def split_tolerances(reference: str) -> tuple[str, tuple[float, ...]]:
    """A reference and its tolerances, if any."""
    match = _REFERENCE.fullmatch(reference)
    return (match.group(1), read_tolerances(match.group(2))) if match else (reference, ())


def within(extracted: str, reference: str, tolerances: Sequence[float]) -> bool:
    """Whether the numbers of an answer, in order, are within tolerance of the reference's.

    With several tolerances, but not one per number, the smallest applies to all.
    """
    ours, gold = ([stated_values(item) for item in items_of(tidy(side))] for side in (extracted, reference))
    if len(ours) != len(gold) or not all(ours) or not all(gold):
        return False
    allowed = tolerances if len(tolerances) == len(gold) else [min(tolerances)] * len(gold)
    return all(_near(mine[-1], theirs[-1], most) for mine, theirs, most in zip(ours, gold, allowed, strict=True))


def _near(ours: str, gold: str, tolerance: float) -> bool:
    mine, theirs = _value(ours), _value(gold)
    if mine is None or theirs is None or (mine[1] and theirs[1] and mine[1] != theirs[1]):
        return False
    return abs(mine[0] - theirs[0]) <= tolerance + _ROUNDING * max(1.0, abs(theirs[0]))


def _value(text: str) -> tuple[float, str | None] | None:
    """A finite number in double precision and its unit; None for anything else."""
    number = read_number(text)
    if number is not None and not number.percent and not number.bare:
        value = double(number.value)
        return (value, number.unit) if math.isfinite(value) else None
    found = number_value(text)
    return (found.real, None) if found is not None and not found.imag else None
