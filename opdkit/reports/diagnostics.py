"""Turns the tables of a run's diagnostics into charts and tables."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from opdkit.charts.chart import Chart, Line, Section, Values
from opdkit.reports.configurations import Configuration
from opdkit.reports.curves import line as aggregate
from opdkit.reports.runs import Curve, Run, number
from opdkit.reports.text import minus

_MOST_ROWS = 20
_COUNTS = ("tokens", "count", "rows")
# Buckets are drawn equally wide from this ratio of widest to narrowest.
_UNEVEN = 50


@dataclass(frozen=True)
class Table:
    """One diagnostic of one run at its last step, as text."""

    name: str
    index: int
    label: str
    step: int
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    left_out: int


@dataclass(frozen=True)
class Record:
    """One valid line of diagnostics.jsonl: every row is as long as `columns`."""

    step: int
    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


def record(row: Mapping[str, Any]) -> Record | None:
    """The line as a record, None if it is invalid."""
    step, name, columns, rows = (row.get(key) for key in ("step", "diagnostic", "columns", "rows"))
    if not (isinstance(step, int) and isinstance(name, str) and isinstance(columns, list) and isinstance(rows, list)):
        return None
    if not columns or not rows or not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    return Record(step, name, [str(column) for column in columns], rows)


def last_records(run: Run) -> dict[str, Record]:
    """Diagnostic -> its latest record."""
    records: dict[str, Record] = {}
    for row in run.diagnostics:
        one = record(row)
        if one is not None and (one.name not in records or one.step >= records[one.name].step):
            records[one.name] = one
    return records


def is_function(one: Record) -> bool:
    """Whether it can be plotted over its first column: only numbers, the first ascending, at least three rows."""
    numbers = [[number(value) for value in row] for row in one.rows]
    plain = all(value is None or math.isfinite(x) for row, xs in zip(one.rows, numbers, strict=True)
                for value, x in zip(row, xs, strict=True))  # fmt: skip
    first = [xs[0] for xs in numbers]
    return plain and len(first) > 2 and len(one.columns) > 1 and all(a < b for a, b in pairwise(first))


def sections(groups: Sequence[Configuration]) -> list[Section]:
    """A section per plottable diagnostic: one chart per column, runs aggregated at their last step."""
    shapes: dict[str, Record] = {}
    for run in (run for group in groups for run in group.runs):
        for name, one in last_records(run).items():
            if is_function(one) and (name not in shapes or len(one.rows) > len(shapes[name].rows)):
                shapes[name] = one
    return [_section(groups, name, one) for name, one in shapes.items()]


def _section(groups: Sequence[Configuration], name: str, shape: Record) -> Section:
    columns = list(shape.columns[2 if _upper(shape) else 1 :])
    columns.sort(key=lambda column: column in _COUNTS)
    over = "token position" if name.endswith("by_position") else shape.columns[0].replace("_", " ")
    charts = [_chart(groups, name, column, shape, over) for column in columns]
    note = "From the last record in diagnostics.jsonl."
    title = name.replace("_", " ").capitalize()
    return Section(f"diagnostic-{re.sub(r'[^A-Za-z0-9_]+', '_', name)}", title, note, charts)


def _upper(one: Record) -> bool:
    """Whether the first two columns are the start and end of a bucket."""
    return len(one.columns) > 2 and one.columns[1].endswith(("stop", "end", "high", "to"))


def _chart(groups: Sequence[Configuration], name: str, column: str, shape: Record, over: str) -> Chart:
    lines: list[Line] = []
    for index, group in enumerate(groups):
        curves = [curve for run in group.runs if (curve := _curve(last_records(run).get(name), column)) is not None]
        if curves:
            lines.append(aggregate(group.label, index, curves))
    firsts = np.array([number(row[0]) for row in shape.rows])
    ticks = _even(firsts)
    if ticks is not None:
        lines = [replace(line, x=np.interp(line.x, firsts, np.arange(len(firsts)))) for line in lines]
    return Chart(column.replace("_", " ").capitalize(), "", lines, x_label=over, x_ticks=ticks)


def _even(firsts: Values) -> list[tuple[float, str]] | None:
    """Ticks for buckets drawn equally wide because their true widths differ too much; else None."""
    widths = np.diff(firsts)
    if widths.max() < _UNEVEN * widths.min():
        return None
    chosen = np.unique(np.linspace(0, len(firsts) - 1, 5).round().astype(int))
    return [(float(index), minus(f"{firsts[index]:.3g}")) for index in chosen.tolist()]


def _curve(one: Record | None, column: str) -> Curve | None:
    if one is None or column not in one.columns:
        return None
    index = one.columns.index(column)
    points = {number(row[0]): number(row[index]) for row in one.rows if math.isfinite(number(row[0]))}
    if not any(map(math.isfinite, points.values())):
        return None
    steps = np.array(sorted(points))
    return Curve(steps, np.array([points[step] for step in steps.tolist()]))


def tables(groups: Sequence[Configuration], most: int = 8) -> list[Table]:
    """Every other diagnostic, of the first run of up to `most` configurations."""
    diagnostic_tables: list[Table] = []
    for index, group in enumerate(groups[:most]):
        run = next((run for run in group.runs if run.diagnostics), None)
        for name, one in (last_records(run) if run else {}).items():
            if not is_function(one):
                rows = [[_cell(value) for value in row] for row in one.rows[:_MOST_ROWS]]
                label, left_out = group.label, len(one.rows) - len(rows)
                diagnostic_tables.append(Table(name, index, label, one.step, one.columns, rows, left_out))
    return sorted(diagnostic_tables, key=lambda table: (table.name, table.index))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return minus(f"{value:.4g}")
    return "" if value is None else str(value)
