"""The protocol of problem sources."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem


@runtime_checkable
class ProblemSource(Protocol):
    """Problems and the grading of their answers. Sources are frozen: equal fields give equal problems."""

    @property
    def name(self) -> str:
        """The source's name in files and tables."""
        ...

    def load(self) -> Sequence[Problem]:
        """All problems, in a fixed order. Identifiers are unique. Raises UserError for bad input."""
        ...

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """One grade per (response, reference), in order. Never raises for a response."""
        ...


@runtime_checkable
class FromFile(Protocol):
    """A source of problems or episodes that can be read from a file or folder."""

    @property
    def path(self) -> str | None: ...


@runtime_checkable
class Telling(Protocol):
    """A source that detects settings and reports them before a run."""

    def told(self) -> Sequence[str]:
        """What it detected, one line each. Raises UserError for bad input."""
        ...
