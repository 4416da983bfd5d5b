"""Defines the output of a study: claims with verdicts, tables, figures, and the page that combines them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure

from opdkit.tables import csv_table, markdown_table

Verdict = Literal["reproduced", "partly", "not reproduced", "holds", "fails"]
Cell = str | int | float


@dataclass(frozen=True)
class Claim:
    """One statement tested on the numbers. `rule` was fixed before the numbers were seen; `measured` is computed.

    reproduced, partly, not reproduced: for the paper's claims; holds, fails: for a study's own checks and additions.
    """

    statement: str
    rule: str
    measured: str
    verdict: Verdict


@dataclass(frozen=True)
class Table:
    """Columns named with their units, and rows. `shown`: also included in the page, not only written as a file."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    shown: bool = True

    def csv(self) -> str:
        return csv_table(self.columns, self.rows)

    def markdown(self) -> str:
        numeric = [index for index in range(len(self.columns)) if not _is_text(self.rows, index)]
        return markdown_table(self.columns, [[_cell(value) for value in row] for row in self.rows], numeric) + "\n"


def _is_text(rows: Sequence[Sequence[Cell]], column: int) -> bool:
    return any(isinstance(row[column], str) for row in rows)


def _cell(value: Cell) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value).replace("|", "\\|")


@dataclass(frozen=True)
class Picture:
    """A matplotlib figure and its caption."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Outcome:
    """title, opening and limits: for the page; tables and pictures by file stem."""

    title: str
    opening: str
    claims: Sequence[Claim]
    tables: Mapping[str, Table]
    pictures: Mapping[str, Picture] = field(default_factory=dict[str, Picture])
    limits: Sequence[str] = ()

    def page(self, command: str) -> str:
        """The whole study as markdown. Every number and verdict in it comes from the tables."""
        claims = Table("", ("claim", "rule, fixed before", "measured", "verdict"), [
            (c.statement, c.rule, c.measured, f"**{c.verdict}**") for c in self.claims
        ])  # fmt: skip
        parts = [f"# {self.title}\n", f"`{command}`\n", self.opening.strip() + "\n", claims.markdown()]
        parts += [f"![{stem}]({stem}.png)\n\n{p.caption}\n" for stem, p in self.pictures.items()]
        for stem, table in self.tables.items():
            if table.shown:
                parts.append(f"## {table.title}\n\n{table.markdown()}\n([{stem}.csv]({stem}.csv))\n")
        hidden = [f"[{stem}.csv]({stem}.csv): {t.title}" for stem, t in self.tables.items() if not t.shown]
        parts += ["".join(f"- {line}\n" for line in [*self.limits, *hidden])]
        return "\n".join(part for part in parts if part)
