"""Values of expressions at points, in double precision: a cheap test that two answers differ.

The work is bounded: numbers stay below the largest double, powers below the 64th, and each node is visited once.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable
from fractions import Fraction
from functools import lru_cache
from typing import ClassVar, Protocol, TypeVar

from opdkit.grading.expression import read_expression
from opdkit.grading.trees import Node, UnreadableError, has_function, symbols_of

_CLEARLY_APART = 1e-5
_BASELESS = frozenset(["log"])
_LARGEST_FACTORIAL = 150
_ROUNDING = 1e-9
UNEVALUABLE = (ArithmeticError, ValueError, TypeError, UnreadableError, RecursionError)
Value = TypeVar("Value")


class Arithmetic(Protocol[Value]):
    """Complex arithmetic of some precision; values support + * / and powers."""

    def number(self, value: Fraction) -> Value:
        """An exact number."""
        ...

    def constant(self, name: str) -> Value:
        """pi, e or i."""
        ...

    def symbol(self, name: str) -> Value:
        """The value of an unknown at the point."""
        ...

    def function(self, name: str, first: Value, last: Value) -> Value:
        """A function of one value, or of the first and the last."""
        ...


class Doubles:
    """Complex doubles at a point determined by the names of the unknowns."""

    _constants: ClassVar = {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}
    _functions: ClassVar[dict[str, Callable[[complex], complex]]] = {
        "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "arcsin": cmath.asin, "arccos": cmath.acos,
        "arctan": cmath.atan, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh, "ln": cmath.log,
        "log": cmath.log, "exp": cmath.exp, "sec": lambda x: 1 / cmath.cos(x), "csc": lambda x: 1 / cmath.sin(x),
        "cot": lambda x: 1 / cmath.tan(x), "abs": lambda x: complex(abs(x)), "degrees": lambda x: x * math.pi / 180,
    }  # fmt: skip

    def number(self, value: Fraction) -> complex:
        return complex(float(value))

    def constant(self, name: str) -> complex:
        return self._constants[name]

    def symbol(self, name: str) -> complex:
        return complex(1 + (sum(map(ord, name)) * 0.6180339887498949) % 1)  # in (1, 2): roots and logarithms are real

    def function(self, name: str, first: complex, last: complex) -> complex:
        if name in self._functions:
            return self._functions[name](first)
        if name == "log_base":
            return cmath.log(first) / cmath.log(last)
        if first.imag or last.imag:
            raise UnreadableError
        if name == "floor":
            return complex(math.floor(first.real + _ROUNDING))
        if name == "ceil":
            return complex(math.ceil(first.real - _ROUNDING))
        top, bottom = first.real, last.real
        if name == "factorial" and 0 <= top < _LARGEST_FACTORIAL:
            return complex(math.gamma(top + 1))
        if name == "binomial" and 0 <= bottom <= top < _LARGEST_FACTORIAL:
            return complex(math.exp(math.lgamma(top + 1) - math.lgamma(bottom + 1) - math.lgamma(top - bottom + 1)))
        raise UnreadableError


DOUBLES = Doubles()


def double(value: Fraction) -> float:
    """The nearest double, infinite if out of range."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


@lru_cache(maxsize=4096)
def read_or_none(text: str) -> Node | None:
    """The tree of a tidied expression, None if our parser can't read it."""
    try:
        return read_expression(text)
    except (UnreadableError, RecursionError, ValueError, ArithmeticError):
        return None


def logarithms_agree(ours: Node, gold: Node) -> bool:
    """Whether logarithms without a base (possibly base ten) occur in both or in neither."""
    return has_function(ours, _BASELESS) == has_function(gold, _BASELESS)


def clearly_different(answer: str, reference: str) -> bool:
    """Whether two tidied expressions in the same letters differ at one point. False is inconclusive."""
    ours, gold = read_or_none(answer), read_or_none(reference)
    if ours is None or gold is None or symbols_of(ours) != symbols_of(gold) or not logarithms_agree(ours, gold):
        return False
    try:
        mine, theirs = evaluate(ours, DOUBLES), evaluate(gold, DOUBLES)
        size = max(abs(mine), abs(theirs), 1.0)
    except UNEVALUABLE:
        return False
    return cmath.isfinite(mine) and cmath.isfinite(theirs) and abs(mine - theirs) > _CLEARLY_APART * size


def number_value(text: str) -> complex | None:
    """The value of an expression without letters, None for anything else."""
    node = read_or_none(text)
    if node is None or symbols_of(node) or has_function(node, _BASELESS):
        return None
    try:
        value = evaluate(node, DOUBLES)
    except UNEVALUABLE:
        return None
    return value if cmath.isfinite(value) else None


def evaluate(node: Node, arithmetic: Arithmetic[Value]) -> Value:
    """The value of a tree. Raises one of UNEVALUABLE if it has none."""
    if node.kind == "number":
        return arithmetic.number(node.value)
    if node.kind == "constant":
        return arithmetic.constant(node.name)
    if node.kind == "symbol":
        return arithmetic.symbol(node.name)
    values = [evaluate(part, arithmetic) for part in node.parts]
    first, last = values[0], values[-1]
    if node.kind == "add":
        for value in values[1:]:
            first = first + value  # pyright: ignore
        return first
    if node.kind == "multiply":
        for value in values[1:]:
            first = first * value  # pyright: ignore
        return first
    if node.kind == "divide":
        return first / last  # pyright: ignore
    if node.kind == "power":
        return first**last  # pyright: ignore
    if node.kind == "root":
        return first ** (1 / last)  # pyright: ignore
    return arithmetic.function(node.kind, first, last)
