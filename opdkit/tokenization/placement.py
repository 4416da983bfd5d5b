"""Locates each of the student's tokens in the teacher's tokenization of the same text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

from opdkit.tokenization.alignment import Symbols


@dataclass(frozen=True)
class Crossing:
    """Where a student token ends that extends beyond the teacher token in which it starts.

    Attributes:
        last: index of the teacher token in which it ends.
        begun: the bytes of that token that it covers; empty if both end together.
    """

    last: int
    begun: bytes


@dataclass(frozen=True)
class Placement:
    """Where a student token starts.

    Attributes:
        token: index of the teacher token in which it starts, whose prediction applies to it.
        written: the bytes of that token already written; empty at a common boundary.
        rest: the remaining bytes of that token.
        crossing: its end if it extends beyond that token, else None.
    """

    token: int
    written: bytes
    rest: bytes
    crossing: Crossing | None = None


def place(student: Sequence[Symbols], teacher: Sequence[Symbols]) -> list[Placement | None]:
    """One per student token; None from the first symbol at which the two texts differ, and for a token without
    symbols."""
    ours, theirs = list(chain.from_iterable(student)), list(chain.from_iterable(teacher))
    ends = list(accumulate(map(len, teacher)))
    placements: list[Placement | None] = []
    start, token = 0, 0
    for symbols in student:
        stop = start + len(symbols)
        while token < len(ends) and ends[token] <= start:
            token += 1
        if not symbols:
            placements.append(None)
            continue
        if token == len(ends) or ours[start:stop] != theirs[start:stop]:
            placements += [None] * (len(student) - len(placements))
            return placements
        placements.append(_placement(teacher, ends, token, (start, stop)))
        start = stop
    return placements


def _placement(teacher: Sequence[Symbols], ends: list[int], token: int, span: tuple[int, int]) -> Placement:
    start, stop = span
    inside = start - (ends[token] - len(teacher[token]))
    written, rest = _bytes(teacher[token][:inside]), _bytes(teacher[token][inside:])
    last = token
    while ends[last] < stop:
        last += 1
    if last == token:
        return Placement(token, written, rest)
    begun = b"" if ends[last] == stop else _bytes(teacher[last][: stop - (ends[last] - len(teacher[last]))])
    return Placement(token, written, rest, Crossing(last, begun))


def _bytes(symbols: Symbols) -> bytes:
    """The bytes among the symbols: roles have none."""
    return bytes(symbol for symbol in symbols if isinstance(symbol, int))
