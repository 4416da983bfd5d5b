"""Expression trees."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


class UnreadableError(Exception):
    """The expression is outside the grammar or ambiguous."""


@dataclass(frozen=True)
class Node:
    """A number, a symbol, a constant or an operation on other nodes.

    Attributes:
        kind: "number", "symbol", "constant", "add", "multiply", "divide", "power", "root" or a function's name.
        value: The number.
        name: The symbol or the constant.
        parts: The operands.
    """

    kind: str
    parts: tuple[Node, ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""


ONE = Node("number", value=Fraction(1))
MINUS_ONE = Node("number", value=Fraction(-1))


def product(factors: list[Node]) -> Node:
    """The product of factors."""
    return factors[0] if len(factors) == 1 else Node("multiply", tuple(factors))


def symbols_of(node: Node) -> frozenset[str]:
    """The names of the unknowns in a tree."""
    found, waiting = set[str](), [node]
    while waiting:
        current = waiting.pop()
        if current.kind == "symbol":
            found.add(current.name)
        waiting += current.parts
    return frozenset(found)


def has_function(node: Node, names: frozenset[str]) -> bool:
    """Whether a tree applies a function of `names`."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if current.kind in names:
            return True
        waiting += current.parts
    return False
