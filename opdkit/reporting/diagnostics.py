"""Tables that a run's diagnostics left, functions of their first column as charts, the rest as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from opdkit.reporting.charts import Chart, Line, Section
from opdkit.reporting.configurations import Configuration
from opdkit.reporting.curves import line as aggregate
from opdkit.reporting.runs import Curve, Run, number

_MOST_ROWS = 20


@dataclass(frozen=True)
class Table:
    """One diagnostic of one run at its last step, as text."""

    name: str
    place: int
    label: str
    step: int
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int


@dataclass(frozen=True)
class Record:
    """One line of diagnostics.jsonl that is what it should be: every row as long as `columns`."""

    step: int
    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def record(row: Mapping[str, Any]) -> Record | None:
    """The line as a record, None where it is none."""
    step, name, columns, rows = (row.get(key) for key in ("step", "diagnostic", "columns", "rows"))
    if not (isinstance(step, int) and isinstance(name, str) and isinstance(columns, list) and isinstance(rows, list)):
        return None
    if not columns or not rows or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    return Record(step, name, [str(column) for column in columns], rows)


def last(run: Run) -> dict[str, Record]:
    """Diagnostic -> its record at the last step that has it."""
    found: dict[str, Record] = {}
    for row in run.diagnostics:
        one = record(row)
        if one is not None and (one.name not in found or one.step >= found[one.name].step):
            found[one.name] = one
    return found


def drawable(one: Record) -> bool:
    """Whether it is a function of its first column: numbers alone, the first ascending, in three rows or more."""
    numbers = [[number(value) for value in row] for row in one.rows]
    plain = all(value is None or math.isfinite(x) for row, xs in zip(one.rows, numbers, strict=True)
                for value, x in zip(row, xs, strict=True))  # fmt: skip
    first = [xs[0] for xs in numbers]
    return plain and len(first) > 2 and len(one.columns) > 1 and all(a < b for a, b in pairwise(first))


def sections(groups: Sequence[Configuration]) -> list[Section]:
    """A section for each diagnostic that can be drawn: a chart a column, runs at their last step, aggregated."""
    names: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    for run in (run for group in groups for run in group.runs):
        for name, one in last(run).items():
            if drawable(one):
                first.setdefault(name, one.columns[0])
                known = names.setdefault(name, [])
                known += [column for column in _values(one) if column not in known]
    found: list[Section] = []
    for name, columns in names.items():
        charts = [_chart(groups, name, column, first[name]) for column in columns]
        note = f"Of diagnostics.jsonl, at the last step that has it; over {first[name].replace('_', ' ')}."
        title = name.replace("_", " ").capitalize()
        found.append(Section(f"diagnostic-{len(found)}", title, note, charts))
    return found


def _values(one: Record) -> list[str]:
    """Columns to draw: not the first, and not the upper bound of what the first begins."""
    upper = len(one.columns) > 2 and any(one.columns[1].endswith(word) for word in ("stop", "end", "high", "to"))
    return list(one.columns[2 if upper else 1 :])


def _chart(groups: Sequence[Configuration], name: str, column: str, over: str) -> Chart:
    lines: list[Line] = []
    for place, group in enumerate(groups):
        curves = [curve for run in group.runs if (curve := _curve(last(run).get(name), column)) is not None]
        if curves:
            lines.append(aggregate(group.label, place, curves))
    return Chart(column.replace("_", " ").capitalize(), "", lines, x_label=over.replace("_", " "))


def _curve(one: Record | None, column: str) -> Curve | None:
    if one is None or column not in one.columns:
        return None
    place = one.columns.index(column)
    points = {number(row[0]): number(row[place]) for row in one.rows if math.isfinite(number(row[0]))}
    if not any(map(math.isfinite, points.values())):
        return None
    steps = np.array(sorted(points))
    return Curve(steps, np.array([points[step] for step in steps.tolist()]))


def tables(groups: Sequence[Configuration], most: int = 8) -> list[Table]:
    """Every other diagnostic, of the first run of up to `most` configurations."""
    found: list[Table] = []
    for place, group in enumerate(groups[:most]):
        run = next((run for run in group.runs if run.diagnostics), None)
        for name, one in (last(run) if run else {}).items():
            if not drawable(one):
                rows = [[_cell(value) for value in row] for row in one.rows[:_MOST_ROWS]]
                label, left_out = group.label, len(one.rows) - len(rows)
                found.append(Table(name, place, label, one.step, one.columns, rows, left_out))
    return sorted(found, key=lambda table: (table.name, table.place))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
