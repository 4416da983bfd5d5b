"""Prints the end of a run: results before, after and of the teacher, files, next commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opdkit.console.curve import curve
from opdkit.console.episodes import episode_tables
from opdkit.console.terminal import Reporter
from opdkit.jsonl import read_rows

_COLUMNS = ("", "pass@1", "95 % interval", "truncated", "problems")


def close_training(reporter: Reporter, summary: Mapping[str, Any], evaluation_arguments: Sequence[str]) -> None:
    """summary: what a run returned: `benchmark`, `steps`, `seconds`, `run_dir`, and the benchmark's results under
    `before`, `after` and `teacher`; asked: the arguments of `opdkit eval` that ask the same of another model."""
    labels = (("before", "student before"), ("after", "student after"), ("teacher", "teacher"))
    rows = [row for name, label in labels if summary.get(name) for row in _rows(label, summary[name])]
    title = f"{summary.get('benchmark')} after {summary.get('steps')} steps, {_duration(summary.get('seconds'))}"
    reporter.table(title, _COLUMNS, rows)
    share = summary.get("metrics_share")
    if isinstance(share, float):
        reporter.note(f"metrics and diagnostics took {_percent(share)} of the steps' time")
    folder = Path(str(summary["run_dir"]))
    for text in _curves(folder / "metrics.jsonl"):
        reporter.note(text)
    next_arguments = [f"model.path={_quoted(str(folder / 'final'))}", *evaluation_arguments]
    reporter.note(f"student   {folder / 'final'}")
    reporter.note(f"metrics   {folder / 'metrics.jsonl'}, samples.jsonl and evals/ beside it")
    reporter.note(f"next      opdkit eval {shlex.join(next_arguments)}")
    reporter.note(f"          opdkit report {shlex.quote(str(folder))}")


def _curves(path: Path) -> list[str]:
    """Loss and reward over the steps, a line each."""
    rows = read_rows(path)[0]
    found: list[str] = []
    for name, key in (("loss     ", "train/loss"), ("reward   ", "rollout/reward_mean")):
        text = curve(name, [float(row[key]) for row in rows if isinstance(row.get(key), int | float)])
        found += [text] if text else []
    return found


def close_evaluation(reporter: Reporter, summary: Mapping[str, Any], folder: Path) -> None:
    """summary: a benchmark's results."""
    if "n_crashed" in summary:
        episode_tables(reporter, summary)
    else:
        reporter.table(str(summary.get("benchmark")), _COLUMNS, [_row("model", summary)])
    reporter.note(f"results   {folder / 'evals'}")


def close_study(reporter: Reporter, summary: Mapping[str, Any], folder: Path) -> None:
    """summary: what a study returned: `title`, `seconds`, and `claims`, each with its verdict and what was measured."""
    rows = [[str(claim["verdict"]), str(claim["claim"]), str(claim["measured"])] for claim in summary["claims"]]
    reporter.table(f"{summary['title']}, {_duration(summary.get('seconds'))}", ("verdict", "claim", "measured"), rows)
    reporter.note(f"page      {folder / 'findings.md'}, figures and tables beside it")


def _rows(label: str, results: Mapping[str, Any]) -> list[list[str]]:
    """One for a run of one task, else one for each of its tasks."""
    tasks: Mapping[str, Any] | None = results.get("tasks")
    return [_row(label, results)] if tasks is None else [_row(f"{label}, {name}", tasks[name]) for name in tasks]


def _row(label: str, results: Mapping[str, Any]) -> list[str]:
    low, high = results.get("ci95") or (None, None)
    interval = "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return [
        label,
        _percent(results.get("pass@1")),
        interval,
        _percent(results.get("truncated_fraction")),
        str(results.get("n_problems", "")),
    ]


def _quoted(value: str) -> str:
    """A value as an override takes it: in quotes where it has signs of its own."""
    if re.fullmatch(r"[\w./~+:@%-]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _percent(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, (int, float)) else ""


def _duration(seconds: object) -> str:
    if not isinstance(seconds, (int, float)):
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
