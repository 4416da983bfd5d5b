"""Defines a small table of one step, for loggers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A small table of one step, for the loggers. Cells are plain values; a cell that can't be had is None.

    histogram: the first three columns are low and high, the limits of a bin, and what it counts.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    histogram: bool = False
