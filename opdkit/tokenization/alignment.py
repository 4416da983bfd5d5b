"""Finds the boundaries that two tokenizations of one text have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

Symbols = Sequence[int | str]
"""What a token puts into the stream: bytes, or the name of a role."""


class Group(NamedTuple):
    """Consecutive tokens of both sides that hold the same symbols and have no boundary in common inside."""

    student: range
    teacher: range

    @property
    def strict(self) -> bool:
        """Whether one token stands against one."""
        return len(self.student) == 1 == len(self.teacher)


@dataclass(frozen=True)
class Alignment:
    """The finest groups of two splits, in order.

    Attributes:
        groups: they cover both sides from the start, without a gap.
        complete: whether they reach the end. They do not where the texts differ: then they end before the first
            difference, since a teacher that has read another text says nothing of the student's.
    """

    groups: tuple[Group, ...]
    complete: bool

    @property
    def strict(self) -> list[tuple[int, int]]:
        """(student's token, teacher's token) of each group of one against one."""
        return [(group.student.start, group.teacher.start) for group in self.groups if group.strict]


def align(student: Sequence[Symbols], teacher: Sequence[Symbols]) -> Alignment:
    """The groups of two splits of one text, one sequence of symbols a token.

    A token without symbols (an unused id) belongs to the group of the token behind it.
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
    """How many symbols two streams have in common from the start."""
    if ours == theirs:
        return len(ours)
    return next(
        (place for place, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )


class _Cursor:
    """How far one side has been read: `done` tokens, `end` symbols."""

    def __init__(self, tokens: Sequence[Symbols]) -> None:
        self._tokens = tokens
        self.done = 0
        self.end = 0

    def advance(self) -> bool:
        """Take one token; False where none is left."""
        if self.done == len(self._tokens):
            return False
        self.end += len(self._tokens[self.done])
        self.done += 1
        return True
