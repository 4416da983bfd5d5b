"""Prints the doctor's sections on wide and narrow terminals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from opdkit.console.terminal import printable
from opdkit.doctor.report import Grid, Level, Note, Section

_SIGNS: dict[Level, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "warning": ("warning", "yellow"),
    "stop": ("STOP", "red"),
}
_SIDE_BY_SIDE = 90


class ExaminationView:
    """Prints sections as they arrive. All text is printed literally, without markup."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("")

    def stage(self, text: str) -> None:
        """Shows the current stage, on a terminal only."""
        self._status.update(Text(text))

    def section(self, section: Section) -> None:
        """Prints a section: title, findings, tables."""
        self._console.print()
        self._console.print(Text(printable(section.title), style="bold"))
        for note in section.notes:
            self._console.print(_note(note))
        parts: list[RenderableType] = [_grid(grid) for grid in section.grids]
        if section.sides:
            parts.append(_sides(section.sides, self._console.width))
        if parts:
            self._console.print(Padding(Group(*parts), (0, 0, 0, 2)))

    def close(self, level: Level, warnings: int) -> None:
        """Prints the verdict."""
        sign, colour = _SIGNS[level]
        conclusions = {
            "ok": "no problems found",
            "warning": f"{warnings} to look at",
            "stop": "this run can't be trained",
        }
        self._console.print()
        self._console.print(Text.assemble(("verdict  ", "bold"), (sign, f"bold {colour}"), f"  {conclusions[level]}"))

    @contextmanager
    def running(self) -> Iterator[ExaminationView]:
        """Shows a spinner with the current stage inside the context."""
        if not self._console.is_terminal:
            yield self
            return
        with self._status:
            yield self


def _note(note: Note) -> RenderableType:
    sign, colour = _SIGNS[note.level]
    line = Table.grid(padding=(0, 1))
    line.add_column(width=7, no_wrap=True)
    line.add_column(overflow="fold")
    line.add_row(Text(sign, style=colour), Text(printable(note.text)))
    if note.advice:
        line.add_row("", Text(f"set: {printable(note.advice)}", style="cyan"))
    return Padding(line, (0, 0, 0, 2))


def _grid(grid: Grid) -> RenderableType:
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="dim")
    for name in grid.columns:
        table.add_column(Text(printable(name)), overflow="fold")
    for row in grid.rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return Padding(table, (0, 0, 0, 8))


def _sides(sides: tuple[tuple[str, str], ...], width: int) -> RenderableType:
    """Texts side by side if they fit, else stacked. Line breaks are kept."""
    room = (width - 4) // len(sides) if width >= _SIDE_BY_SIDE else width - 2
    panels = [
        Panel(
            Text("\n".join(printable(line) for line in text.split("\n")), overflow="fold"),
            title=Text(printable(title)),
            title_align="left",
            width=room,
        )
        for title, text in sides
    ]
    return Columns(panels, padding=(0, 1)) if width >= _SIDE_BY_SIDE else Group(*panels)
