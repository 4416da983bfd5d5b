"""Defines the protocol of problem sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem


@runtime_checkable
class ProblemSource(Protocol):
    """Problems, and the grades of answers to them. Sources are frozen: the same fields give the same problems."""

    @property
    def name(self) -> str:
        """What the source is called in file names and tables."""
        ...

    def load(self) -> Sequence[Problem]:
        """All problems, in a fixed order. Identifiers are unique. Raises UserError for bad input."""
        ...

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """One verdict for each (response, reference), in order. No response raises."""
        ...


@runtime_checkable
class FromFile(Protocol):
    """A source of problems or episodes that can be read from a file or folder."""

    @property
    def path(self) -> str | None: ...


@runtime_checkable
class Telling(Protocol):
    """A source that has guessed something, and says so before a run."""

    def told(self) -> Sequence[str]:
        """What it took, a line each. Raises UserError for bad input."""
        ...
