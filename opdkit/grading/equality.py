"""Defines outcomes of comparisons, and the equality of two exact numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction

from opdkit.grading.normal_form import Number

_SIGNIFICANT_DIGITS = 6


class Outcome(Enum):
    """What a comparison tells: equal, different, or that only algebra can tell."""

    YES = "yes"
    NO = "no"
    OPEN = "open"


Judge = Callable[[str, str], Outcome]


@dataclass(frozen=True)
class Judges:
    """Who compares what a rule takes apart.

    Attributes:
        part: Compares two parts by all rules.
        whole: Compares two texts that no rule takes apart further.
    """

    part: Judge
    whole: Judge


def decided(equal: bool) -> Outcome:
    """A final outcome."""
    return Outcome.YES if equal else Outcome.NO


def every(outcomes: Iterable[Outcome]) -> Outcome:
    """NO where one is NO, else OPEN where one is."""
    seen = set(outcomes)
    return Outcome.NO if Outcome.NO in seen else Outcome.OPEN if Outcome.OPEN in seen else Outcome.YES


def some(outcomes: Iterable[Outcome]) -> Outcome:
    """YES where one is YES, else OPEN where one is."""
    seen = set(outcomes)
    return Outcome.YES if Outcome.YES in seen else Outcome.OPEN if Outcome.OPEN in seen else Outcome.NO


def equal_numbers(answer: Number, reference: Number) -> bool:
    """Exact equality; units must not contradict; a per cent sign on one side alone may mean either reading.

    A decimal also equals a fraction that no decimal can write where it is that fraction cut or rounded to six
    significant digits or more.
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
    """How many digits a decimal with so many digits after its point tells."""
    return len(str(abs(value.numerator * 10**decimals // value.denominator))) if value else 0


def _terminates(value: Fraction) -> bool:
    denominator = value.denominator
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1
