"""Defines the sections that a check returns, as plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "stop"]


@dataclass(frozen=True)
class Note:
    """One finding. advice: what to set, empty where there is nothing to do."""

    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Grid:
    """A small table of texts."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """What one check found. sides: title and text, to be shown side by side where there is room."""

    title: str
    notes: tuple[Note, ...]
    grids: tuple[Grid, ...] = ()
    sides: tuple[tuple[str, str], ...] = ()


def verdict(sections: Iterable[Section]) -> Level:
    """stop where one finding says so, else warning where one does, else ok."""
    levels = {note.level for section in sections for note in section.notes}
    return "stop" if "stop" in levels else "warning" if "warning" in levels else "ok"


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first few of some names, each quoted, and how many more there are."""
    known = list(names)
    shown = ", ".join(repr(name) for name in known[:most])
    return shown + (f" and {len(known) - most:,} more" if len(known) > most else "")


def percent(share: float) -> str:
    """A share as the tables show it."""
    return f"{100 * share:.1f} %"
