"""Formats a report's tables as CSV, with fractions instead of percentages and empty cells for missing numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opdkit.reports.document import Document
from opdkit.reports.text import cell
from opdkit.tables import csv_table

Value = str | int | float


def results(document: Document) -> str:
    """One line per configuration and benchmark."""
    rows: list[Sequence[Value]] = []
    for benchmark in document.benchmarks:
        rows += [
            (
                benchmark.name, r.configuration.label, *(r.configuration.values[key] for key in document.keys),
                len(r.by_seed), r.accuracy.mean, r.accuracy.low, r.accuracy.high,
                "seeds and problems" if r.over_problems else "seeds",
                r.before, r.teacher, r.truncated, r.tokens, r.seconds,
            )
            for r in benchmark.results
        ]  # fmt: skip
    columns = (
        "benchmark", "configuration", *document.keys, "seeds", "pass@1", "low95", "high95", "interval_over",
        "before", "teacher", "truncated_fraction", "response_tokens_mean", "seconds_mean",
    )  # fmt: skip
    return _text(columns, rows)


def differences(document: Document) -> str:
    """One line per pair of configurations."""
    rows: list[Sequence[Value]] = [
        (
            benchmark.name, d.first.configuration.label, d.second.configuration.label, d.pairs, d.estimate.mean,
            d.estimate.low, d.estimate.high, "problems" if d.over_problems else "seeds", d.p, d.adjusted,
        )
        for benchmark in document.benchmarks
        for d in benchmark.differences
    ]  # fmt: skip
    columns = (
        "benchmark", "first", "second", "pairs", "difference", "low95", "high95", "interval_over", "p", "p_holm",
    )  # fmt: skip
    return _text(columns, rows)


def runs(document: Document) -> str:
    """One line per run."""
    rows: list[Sequence[Value]] = []
    for one in document.configurations:
        for run in one.runs:
            accuracies = [
                run.evaluations[when].accuracy if when in run.evaluations else math.nan
                for when in ("before", "after", "teacher")
            ]
            about = run.environment
            rows.append((
                run.name, one.label, run.seed, run.benchmark or "", "yes" if run.finished else "no", run.step,
                *accuracies, run.seconds, str(about.get("commit") or ""), str(about.get("uncommitted_changes", "")),
                run.command,
            ))  # fmt: skip
    columns = (
        "run", "configuration", "seed", "benchmark", "finished", "step", "before", "after", "teacher", "seconds",
        "commit", "uncommitted_changes", "command",
    )  # fmt: skip
    return _text(columns, rows)


def _text(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    return csv_table([cell(column) for column in columns], [[_cell(value) for value in row] for row in rows])


def _cell(value: Value) -> str:
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return str(value) if isinstance(value, int) else cell(value)
