"""Equality of expressions by their values at points, to 250 digits. Imported only by the grading worker.

Two expressions that agree to two hundred digits at points that cannot be anticipated (they are drawn from a hash of
both texts) are equal. Values that are merely close are left to algebra.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import mpmath
from mpmath import mp

from opdkit.grading.equality import Outcome, decided, every, significant_digits
from opdkit.grading.normal_form import read_number
from opdkit.grading.trees import Node, UnreadableError, symbols_of
from opdkit.grading.values import UNEVALUABLE, evaluate, logarithms_agree, read_or_none

_DIGITS = 250
_ALIKE, _APART, _NOTHING = mpmath.mpf(10) ** -200, mpmath.mpf(10) ** -12, mpmath.mpf(10) ** -220
_HUGE, _MOST_DIGITS = mpmath.mpf(10) ** 40, 5000
_SIGNIFICANT = 7
_LARGEST = 10**6


@dataclass(frozen=True)
class Precise:
    """Complex numbers of 250 digits at one point.

    Attributes:
        point: The value of each unknown.
    """

    point: Mapping[str, Any]

    def number(self, value: Fraction) -> Any:
        return mp.mpc(mpmath.mpf(value.numerator) / value.denominator)

    def constant(self, name: str) -> Any:
        return {"pi": mp.mpc(mp.pi), "e": mp.mpc(mp.e), "i": mp.mpc(0, 1)}[name]

    def symbol(self, name: str) -> Any:
        return self.point[name]

    def function(self, name: str, first: Any, last: Any) -> Any:
        if abs(first) > _LARGEST or abs(last) > _LARGEST:
            raise UnreadableError
        if name == "log_base":
            return mp.log(first) / mp.log(last)
        if name == "degrees":
            return first * mp.pi / 180
        if name in ("floor", "ceil"):
            if abs(first.imag) > _ALIKE or abs(first.real - mp.nint(first.real)) < _ALIKE:
                raise UnreadableError
            return mp.mpc(getattr(mp, name)(first.real))
        if name == "abs":
            return mp.mpc(abs(first))
        if name in ("factorial", "binomial"):
            return mp.mpc(mp.gamma(first + 1) if name == "factorial" else mp.binomial(first, last))
        names = {"arcsin": "asin", "arccos": "acos", "arctan": "atan", "log": "ln"}
        return mp.mpc(getattr(mp, names.get(name, name))(first))


def compare_values(ours: str, gold: str) -> Outcome:
    """The outcome for two expressions; OPEN if one can't be parsed or evaluated, or the values are inconclusive."""
    mine, theirs = read_or_none(ours), read_or_none(gold)
    if mine is None or theirs is None or not logarithms_agree(mine, theirs):
        return Outcome.OPEN
    names = sorted(symbols_of(mine) | symbols_of(theirs))
    with mp.workdps(_DIGITS):
        if not names:
            rounded = _rounded(ours, theirs), _rounded(gold, mine)
            if any(value is not None for value in rounded):
                return decided(True in rounded)
            return _at(mine, theirs, {})
        told = every(_at(mine, theirs, point) for point in _points(names, ours + "\0" + gold, positive=True))
        if told is Outcome.YES:
            mixed = every(_at(mine, theirs, point) for point in _points(names, ours + "\0" + gold, positive=False))
            return Outcome.YES if mixed is Outcome.YES else Outcome.OPEN
        return told


def compare_equations_by_values(ours: tuple[str, str], gold: tuple[str, str], signed: bool) -> Outcome:
    """Whether left - right of one equation is a multiple (positive if `signed`) of the other's: YES or OPEN."""
    trees = [read_or_none(side) for side in (*ours, *gold)]
    if any(tree is None for tree in trees):
        return Outcome.OPEN
    left, right, other_left, other_right = [tree for tree in trees if tree is not None]
    names = [sorted(symbols_of(a) | symbols_of(b)) for a, b in ((left, right), (other_left, other_right))]
    if names[0] != names[1] or not names[0]:
        return Outcome.OPEN
    ratios = list[Any]()
    with mp.workdps(_DIGITS):
        try:
            for point in _points(names[0], "\0".join((*ours, *gold)), positive=False):
                field = Precise(point)
                below = evaluate(other_left, field) - evaluate(other_right, field)
                ratios.append((evaluate(left, field) - evaluate(right, field)) / below)
        except UNEVALUABLE:
            return Outcome.OPEN
        first = ratios[0]
        if abs(first) < _NOTHING or any(abs(ratio - first) > _ALIKE * abs(first) for ratio in ratios):
            return Outcome.OPEN
        return Outcome.OPEN if signed and (abs(first.imag) > _ALIKE or first.real < 0) else Outcome.YES


def _at(ours: Node, gold: Node, point: Mapping[str, Any]) -> Outcome:
    try:
        mine, theirs = evaluate(ours, Precise(point)), evaluate(gold, Precise(point))
        size, apart = max(abs(mine), abs(theirs)), abs(mine - theirs)
        if not mp.isfinite(size):
            return Outcome.OPEN
        if size > _HUGE and apart <= _APART * size:
            return _at_size(ours, gold, point, size)
    except UNEVALUABLE:
        return Outcome.OPEN
    if apart == 0 or (size > _NOTHING and apart <= _ALIKE * size):
        return Outcome.YES
    return Outcome.NO if size > _NOTHING and apart > _APART * size else Outcome.OPEN


def _at_size(ours: Node, gold: Node, point: Mapping[str, Any], size: Any) -> Outcome:
    """Compares two huge values at least to the last integer digit."""
    digits = int(mp.log10(size)) + _DIGITS
    if digits > _MOST_DIGITS:
        return Outcome.OPEN
    with mp.workdps(digits):
        apart = abs(evaluate(ours, Precise(point)) - evaluate(gold, Precise(point)))
    return decided(apart <= _ALIKE) if apart <= _ALIKE or apart > _APART else Outcome.OPEN


def _rounded(decimal: str, exact: Node) -> bool | None:
    """Whether a decimal with at least 7 significant digits is an irrational number truncated or rounded, else None."""
    number = read_number(decimal)
    if number is None or not number.decimals or number.percent or exact.kind == "number":
        return None
    field = Precise({})
    try:
        value, told = evaluate(exact, field), field.number(number.value)
    except UNEVALUABLE:
        return None
    if abs(value - told) <= _ALIKE * abs(told):
        return True
    close = abs(value - told) < mpmath.mpf(10) ** -number.decimals
    return bool(close and significant_digits(number.value, number.decimals) >= _SIGNIFICANT)


def _points(names: list[str], seed: str, positive: bool) -> Iterable[Mapping[str, Any]]:
    for number in range(2):
        point = {}
        for name in names:
            digest = hashlib.sha256(f"{number}{positive}{name}\0{seed}".encode("utf-8", "replace")).digest()
            size = 1 + mpmath.mpf(int.from_bytes(digest[:8], "big") + 1) / 2**64
            point[name] = mp.mpc(size if positive or digest[8] % 2 else -size)
        if not positive and all(value.real > 0 for value in point.values()):
            point[names[number % len(names)]] *= -1
        yield point
