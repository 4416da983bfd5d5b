"""Formats a report as markdown, without model-written text."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opdkit.reports.document import Document
from opdkit.reports.prose import between, commit, environment_remarks, facts, lead, p_text, percent, title
from opdkit.reports.results import Benchmark
from opdkit.reports.text import MINUS, NOTHING, minus
from opdkit.reports.text import markdown as escaped
from opdkit.tables import markdown_table


def text(document: Document, pictures: Sequence[tuple[str, str]]) -> str:
    """The report. pictures: (title, path relative to the file)."""
    blocks = [f"# {escaped(title(document))}", facts(document), *map(escaped, lead(document))]
    for benchmark in document.benchmarks:
        blocks += _benchmark(benchmark)
    blocks += [f"![{escaped(name)}]({path})" for name, path in pictures]
    blocks += ["## What differs", _differing(document), "## Runs", *map(escaped, environment_remarks(document.runs))]
    blocks.append(_runs(document))
    if document.remarks:
        blocks += ["## Warnings", "\n".join(f"- {escaped(remark)}" for remark in document.remarks)]
    return "\n\n".join(blocks) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column is text, the others are numbers."""
    return markdown_table(columns, rows, range(1, len(columns)))


def _benchmark(benchmark: Benchmark) -> list[str]:
    results = sorted(benchmark.results, key=lambda result: -result.accuracy.mean)
    over = "seeds and problems" if results[0].over_problems else "seeds"
    rows = [
        [
            escaped(r.configuration.label), str(len(r.by_seed)), f"**{percent(r.accuracy.mean)}**{between(r.accuracy)}",
            percent(r.before), percent(r.teacher), percent(r.truncated), _number(r.tokens, 0),
            _number(r.seconds / 60, 1),
        ]
        for r in results
    ]  # fmt: skip
    columns = ["configuration", "seeds", "pass@1 (95 % interval)", "before", "teacher", "cut", "tokens", "minutes"]
    blocks = [
        f"## Results on {escaped(benchmark.name)}", _table(columns, rows),
        f"Intervals: bootstrap of the mean over {over}.",
    ]  # fmt: skip
    if benchmark.differences:
        rows = [
            [
                f"{escaped(d.first.configuration.label)} {MINUS} {escaped(d.second.configuration.label)}", str(d.pairs),
                minus(f"{100 * d.estimate.mean:+.1f}{between(d.estimate)}"), p_text(d.p), p_text(d.adjusted),
            ]
            for d in benchmark.differences
        ]  # fmt: skip
        tests = sum(not math.isnan(d.p) for d in benchmark.differences)
        blocks += [
            _table(["paired difference", "pairs", "points (95 % interval)", "p", "p, Holm"], rows),
            f"Paired by seed, Student's t; Holm's correction over {tests} comparisons.",
        ]
    return blocks


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else NOTHING


def _differing(document: Document) -> str:
    if not document.keys:
        return "All runs have the same configuration and differ only in seeds and paths."
    rows = [
        [escaped(one.label), *(escaped(one.values[key]) for key in document.keys), str(len(one.runs))]
        for one in document.configurations
    ]
    return _table(["configuration", *map(escaped, document.keys), "runs"], rows)


def _runs(document: Document) -> str:
    rows = [
        [
            escaped(run.name), escaped(one.label), escaped(run.seed),
            percent(run.evaluations["after"].accuracy) if run.finished else f"step {run.step}", commit(run),
            escaped(run.command or "not recorded"),
        ]
        for one in document.configurations
        for run in one.runs
    ]  # fmt: skip
    return _table(["run", "configuration", "seed", "pass@1", "commit", "command"], rows)
