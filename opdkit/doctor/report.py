"""Plain-value sections that the checks return."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "stop"]


@dataclass(frozen=True)
class Note:
    """One finding. advice: what to set, empty if nothing needs to change."""

    level: Level
    text: str
    advice: str = ""


@dataclass(frozen=True)
class Grid:
    """A small table of text cells."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """The result of one check. sides: (title, text) pairs, shown side by side on wide terminals."""

    title: str
    notes: tuple[Note, ...]
    grids: tuple[Grid, ...] = ()
    sides: tuple[tuple[str, str], ...] = ()


def verdict(sections: Iterable[Section]) -> Level:
    """The worst verdict of the findings: stop, warning or ok."""
    levels = {note.level for section in sections for note in section.notes}
    return "stop" if "stop" in levels else "warning" if "warning" in levels else "ok"


def listed(names: Iterable[str], most: int = 6) -> str:
    """The first few names, quoted, and how many more there are."""
    known = list(names)
    shown = ", ".join(repr(name) for name in known[:most])
    return shown + (f" and {len(known) - most:,} more" if len(known) > most else "")


def percent(share: float) -> str:
    """A fraction as a percentage for tables."""
    return f"{100 * share:.1f} %"
