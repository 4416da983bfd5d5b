"""Comparison outcomes, and equality of exact numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from opdkit.grading.normal_form import Number

_SIGNIFICANT_DIGITS = 6


class Outcome(Enum):
    """Result of a comparison: equal, different, or undecided without algebra."""

    YES = "yes"
    NO = "no"
    OPEN = "open"


Judge = Callable[[str, str], Outcome]


@dataclass(frozen=True)
class Judges:
    """Comparison functions used by the structural rules.

    Attributes:
        part: Compares two parts by all rules.
        whole: Compares two texts without further structure.
    """

    part: Judge
    whole: Judge


def decided(equal: bool) -> Outcome:
    """A final outcome."""
    return Outcome.YES if equal else Outcome.NO


def every(outcomes: Iterable[Outcome]) -> Outcome:
    """NO if any is NO, else OPEN if any is OPEN, else YES."""
    seen = set(outcomes)
    return Outcome.NO if Outcome.NO in seen else Outcome.OPEN if Outcome.OPEN in seen else Outcome.YES


def some(outcomes: Iterable[Outcome]) -> Outcome:
    """YES if any is YES, else OPEN if any is OPEN, else NO."""
    seen = set(outcomes)
    return Outcome.YES if Outcome.YES in seen else Outcome.OPEN if Outcome.OPEN in seen else Outcome.NO


def equal_numbers(answer: Number, reference: Number) -> bool:
    """Exact equality; units must not contradict; a percent sign on one side only allows both readings.

    A decimal also equals a non-terminating fraction truncated or rounded to at least six significant digits.
    """
    if answer.unit and reference.unit and answer.unit != reference.unit:
        return False
    if answer.percent == reference.percent:
        return _equal_values(answer.value, reference.value, answer.decimals, reference.decimals)
    scale = Fraction(1, 100)
    ours, gold = answer, reference
    plain = _equal_values(ours.value, gold.value, ours.decimals, gold.decimals)
    scaled_ours = ours.value * scale if ours.percent else ours.value
    scaled_gold = gold.value * scale if gold.percent else gold.value
    return plain or scaled_ours == scaled_gold


def _equal_values(ours: Fraction, gold: Fraction, our_decimals: int, gold_decimals: int) -> bool:
    if ours == gold:
        return True
    for rounded, exact, decimals in ((ours, gold, our_decimals), (gold, ours, gold_decimals)):
        enough = decimals > 0 and significant_digits(rounded, decimals) >= _SIGNIFICANT_DIGITS
        if enough and not _terminates(exact) and abs(rounded - exact) < Fraction(1, 10**decimals):
            return True
    return False


def significant_digits(value: Fraction, decimals: int) -> int:
    """Number of significant digits of a decimal with the given decimals."""
    return len(str(abs(value.numerator * 10**decimals // value.denominator))) if value else 0


def _terminates(value: Fraction) -> bool:
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1
