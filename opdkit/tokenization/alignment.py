"""Aligns two tokenizations of one text at their common boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

Symbols = Sequence[int | str]
"""What a token puts into the stream: bytes, or the name of a role."""


class Group(NamedTuple):
    """Consecutive tokens of both sides with the same symbols and no common boundary inside."""

    student: range
    teacher: range

    @property
    def strict(self) -> bool:
        """Whether the group is one token against one."""
        return len(self.student) == 1 == len(self.teacher)


@dataclass(frozen=True)
class Alignment:
    """The finest groups of two tokenizations, in order.

    Attributes:
        groups: cover both sides from the start without gaps.
        complete: whether they reach the end. If the texts differ, they end before the first difference, since scores
            of a different text say nothing about the student's.
    """

    groups: tuple[Group, ...]
    complete: bool

    @property
    def strict(self) -> list[tuple[int, int]]:
        """(student token, teacher token) of each one-to-one group."""
        return [(group.student.start, group.teacher.start) for group in self.groups if group.strict]


def align(student: Sequence[Symbols], teacher: Sequence[Symbols]) -> Alignment:
    """The groups of two tokenizations of one text, given as one symbol sequence per token.

    A token without symbols (an unused id) belongs to the group of the next token.
    """
    limit = _agreement(list(chain.from_iterable(student)), list(chain.from_iterable(teacher)))
    groups: list[Group] = []
    ours, theirs = _Cursor(student), _Cursor(teacher)
    first, second = 0, 0
    while True:
        lagging = ours if ours.end <= theirs.end else theirs
        if not lagging.advance() or lagging.end > limit:
            break
        if ours.end == theirs.end and ours.done > first and theirs.done > second:
            groups.append(Group(range(first, ours.done), range(second, theirs.done)))
            first, second = ours.done, theirs.done
    return Alignment(tuple(groups), first == len(student) and second == len(teacher))


def _agreement(ours: list[int | str], theirs: list[int | str]) -> int:
    """Length of the common prefix of two symbol streams."""
    if ours == theirs:
        return len(ours)
    return next(
        (place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )


class _Cursor:
    """The position on one side: `done` tokens, `end` symbols."""

    def __init__(self, tokens: Sequence[Symbols]) -> None:
        self._tokens = tokens
        self.done = 0
        self.end = 0

    def advance(self) -> bool:
        """Advances by one token; False at the end."""
        if self.done == len(self._tokens):
            return False
        self.end += len(self._tokens[self.done])
        self.done += 1
        return True
