"""Parses equations: `x = 5`, chains of equal values `x = 2 + 3 = 5`, and curves `x^2 + y^2 = 1`."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from itertools import pairwise

from opdkit.grading.equality import Judges, Outcome, some
from opdkit.grading.expression import FUNCTIONS
from opdkit.grading.normal_form import compact, read_number
from opdkit.grading.shapes import NAME, members_of, without_names
from opdkit.grading.trees import symbols_of
from opdkit.grading.values import double, number_value, read_or_none

_LABEL = re.compile(
    r"\\(?:text|mathrm|mbox|angle|triangle|overline|lim|sum|int|prod|frac\s*\{\s*d)(?![A-Za-z]).*"
    r"|m\s*\\angle.*|[\[|]\s*[A-Z]{1,5}\s*[\]|]|[A-Za-z]'*\s*\([^()]*\)|[A-Z]{2,4}"
    rf"|\\?(?:{'|'.join(sorted(FUNCTIONS))})(?![A-Za-z])[^=]*"
)
_ROUNDED = 0.5000001


def compare_equations(ours: str, gold: str, judges: Judges) -> Outcome | None:
    """The outcome if at least one answer is an equation, else None."""
    mine, theirs = members_of(without_names(ours)), members_of(without_names(gold))
    if len(mine) == len(theirs) == 1:
        return judges.part(mine[0], theirs[0]) if (mine[0], theirs[0]) != (ours, gold) else None
    if _false(mine, ours):
        return Outcome.NO
    values, gold_values = _values(mine, _names_a_value), _values(theirs, _is_name)
    if len(mine) > 1 and len(theirs) > 1:
        if _names(mine) & _names(theirs) and values and gold_values:
            return judges.part(values[-1], gold_values[-1])
        return judges.whole(ours, gold)
    if not values or not gold_values:
        return Outcome.NO
    return some([judges.part(value, theirs) for value in values for theirs in gold_values[-1:]])


def stated_values(text: str) -> list[str]:
    """The values stated by an answer, the last side last; empty for a false or unsolved equation."""
    members = members_of(text)
    return [] if _false(members, text) else _values(members, _is_name)


def _names(members: list[str]) -> set[str]:
    return {compact(member) for member in members if _is_name(member)}


def _values(members: list[str], names: Callable[[str], bool]) -> list[str]:
    """The sides that state the answer; empty if the equation still has to be solved."""
    if len(members) == 1:
        return members
    *front, last = members
    if NAME.fullmatch(last) and not NAME.fullmatch(front[0]) and len(members) == 2 and _value(front[0]) is not None:
        return front
    if not all(_value(member) is not None or names(member) for member in front):
        return []
    return [*(member for member in front if _value(member) is not None), last]


def _is_name(member: str) -> bool:
    return bool(NAME.fullmatch(member) or _LABEL.fullmatch(member))


def _names_a_value(member: str) -> bool:
    """Whether a side only names the other, rather than forming an equation to solve."""
    if _is_name(member):
        return True
    tree = read_or_none(member)
    return tree is not None and len(symbols_of(tree)) >= 2


def _value(member: str) -> complex | None:
    number = read_number(member)
    if number is None or number.bare:
        return number_value(member)
    return complex(double(number.value / 100 if number.percent else number.value))


def _false(members: list[str], text: str) -> bool:
    """Whether two sides are different numbers: `3 = 7`. A rounded decimal may equal the exact value."""
    exact = [read_number(member) for member in members]
    loose = "\\approx" in text
    whole = {
        number.value
        for number in exact
        if number is not None and not (number.decimals or number.percent or number.bare)
    }
    if not loose and len(whole) > 1:
        return True
    known = [(value, _decimals(member)) for member in members if (value := _value(member)) is not None]
    for (one, places), (other, more) in pairwise(known):
        slack = max(_slack(other, places, loose), _slack(one, more, loose), 1e-9 * max(1.0, abs(one)))
        if abs(one - other) > slack:
            return True
    return False


def _slack(exact: complex, decimals: int, loose: bool) -> float:
    """Rounding tolerance of a decimal: zero if the value terminates within its decimals."""
    if loose:
        return _ROUNDED * 10.0**-decimals
    scaled = exact.real * 10.0**decimals
    rounds = decimals > 0 and math.isfinite(scaled) and abs(scaled - round(scaled)) > 1e-6
    return 10.0**-decimals if rounds else 0.0


def _decimals(member: str) -> int:
    number = read_number(member)
    if number is None:
        return 0
    return number.decimals + 2 if number.percent and number.decimals else number.decimals
