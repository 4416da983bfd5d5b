"""The value of a plain expression at a point, read by hand: a cheap way to see that two answers differ.

Understood are numbers, letters, `\\pi`, `e`, `i`, + - * /, powers, `\\frac`, `\\sqrt`, brackets and juxtaposition.
Whatever else stands in an expression, or could be read in two ways, makes it None: then algebra decides.
"""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"\s*(\\(?:frac|sqrt|pi|cdot|times|left|right)(?![A-Za-z])|\d+\.\d+|\.\d+|\d+|[A-Za-z]|[-+*/^(){}\[\]])"
)
_CONSTANTS: Mapping[str, complex] = {"\\pi": math.pi, "e": math.e, "i": 1j}
_LARGEST_EXPONENT = 64
_CLEARLY_APART = 1e-5


class _UnreadableError(Exception):
    """The expression is not in the grammar."""


@dataclass
class _Reader:
    tokens: list[str]
    place: int = 0
    letters: set[str] = field(default_factory=set)

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self, wanted: str | None = None) -> str:
        token = self.peek()
        if not token or (wanted is not None and token != wanted):
            raise _UnreadableError
        self.place += 1
        return token

    def sum(self) -> complex:
        negative = self.peek() in ("-", "+") and self.take() == "-"
        total = -self.product() if negative else self.product()
        while self.peek() in ("+", "-"):
            total = total + self.product() if self.take() == "+" else total - self.product()
        return total

    def product(self) -> complex:
        value, divided = self.power(), False
        while True:
            token = self.peek()
            if token in ("*", "\\cdot", "\\times"):
                self.take()
                value *= self.power()
            elif token == "/":
                self.take()
                value, divided = value / self.power(), True
            elif token and token not in ("+", "-", ")", "}", "]", "^"):
                if divided or (token == "\\frac" and self._after_number()):
                    raise _UnreadableError  # 1/2x and 1\frac{1}{2} are read in two ways
                value *= self.power()
            else:
                return value

    def _after_number(self) -> bool:
        return self.tokens[self.place - 1][-1].isdigit()

    def power(self) -> complex:
        base = self.atom()
        if self.peek() != "^":
            return base
        self.take()
        exponent = self.atom()
        if self.peek() == "^" or abs(exponent) > _LARGEST_EXPONENT:
            raise _UnreadableError
        return base**exponent

    def atom(self) -> complex:
        token = self.take()
        if token in ("(", "{"):
            value = self.sum()
            self.take(")" if token == "(" else "}")
            return value
        if token == "\\frac":
            top = self.atom_or_digit()
            return top / self.atom_or_digit()
        if token == "\\sqrt":
            degree = 2.0 + 0j
            if self.peek() == "[":
                self.take()
                degree = self.sum()
                self.take("]")
            return self.atom_or_digit() ** (1 / degree)
        if token in _CONSTANTS:
            return _CONSTANTS[token]
        if token.isalpha():
            self.letters.add(token)
            return _point(token)
        if token[0].isdigit() or token[0] == ".":
            if self.peek()[:1].isdigit():
                raise _UnreadableError
            return complex(float(token))
        raise _UnreadableError

    def atom_or_digit(self) -> complex:
        """LaTeX takes one digit as an argument without braces: `\\sqrt23` is three times the root of two."""
        token = self.peek()
        if token.isdigit() and len(token) > 1:
            self.tokens[self.place : self.place + 1] = [token[0], token[1:]]
            self.place += 1
            return complex(float(token[0]))
        return self.atom()


def _point(letter: str) -> complex:
    """A value for each letter, in (1, 2): positive, so that roots and logarithms of it are real."""
    return complex(1 + (ord(letter) * 0.6180339887498949) % 1)


def clearly_different(answer: str, reference: str) -> bool:
    """Whether two tidied expressions in the same letters have different values at one point.

    Tuples and intervals of the same length are compared entry by entry. False says nothing.
    """
    ours, gold = _entries(answer), _entries(reference)
    return len(ours) == len(gold) and any(_apart(mine, theirs) for mine, theirs in zip(ours, gold, strict=True))


def _entries(text: str) -> list[str]:
    text = text.strip()
    inner = text[1:-1]
    if (
        text[:1] in ("(", "[")
        and text[-1:] in (")", "]")
        and "," in inner
        and not re.search(r"[(\[{]", re.sub(r"\\(?:frac|sqrt)|[{}]", "", inner))
    ):
        return [text[0], *inner.split(","), text[-1]]
    return [text]


def _apart(mine: str, theirs: str) -> bool:
    ours, gold = _value(mine), _value(theirs)
    if ours is None or gold is None or ours[1] != gold[1]:
        return False
    size = max(abs(ours[0]), abs(gold[0]), 1.0)
    return cmath.isfinite(ours[0]) and cmath.isfinite(gold[0]) and abs(ours[0] - gold[0]) > _CLEARLY_APART * size


def _value(text: str) -> tuple[complex, frozenset[str]] | None:
    tokens: list[str] = []
    place = 0
    for match in _TOKEN.finditer(text):
        if match.start() != place:
            return None
        tokens.append(match.group(1))
        place = match.end()
    if text[place:].strip() or not tokens:
        return None
    reader = _Reader([token for token in tokens if token not in ("\\left", "\\right")])
    try:
        value = reader.sum()
    except (_UnreadableError, ArithmeticError, RecursionError):
        return None
    return (value, frozenset(reader.letters)) if reader.place == len(reader.tokens) else None
