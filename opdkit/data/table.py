"""A small table of one step, for loggers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A small table of one step, for loggers. Cells are plain values; a missing value is None.

    histogram: whether the first three columns are a bin's lower limit, upper limit and count.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]
    histogram: bool = False
