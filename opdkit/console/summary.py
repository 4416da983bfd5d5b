"""Prints the summary of a run: results before, after and of the teacher, files, next commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from opdkit.console.curve import curve
from opdkit.console.episodes import episode_tables
from opdkit.console.terminal import Reporter
from opdkit.jsonl import read_rows

_SEVERAL = re.compile(r"(?:pass|avg|majority)@(?!1$)\d+")  # keys that exist with several answers per problem


def close_training(reporter: Reporter, summary: Mapping[str, Any], evaluation_arguments: Sequence[str]) -> None:
    """summary: what a run returned: `benchmark`, `steps`, `seconds`, `run_dir`, and the benchmark's results under
    `before`, `after` and `teacher`; evaluation_arguments: those of `opdkit eval` for the same evaluation."""
    labels = (("before", "student before"), ("after", "student after"), ("teacher", "teacher"))
    found = [row for name, label in labels if summary.get(name) for row in _by_task(label, summary[name])]
    title = f"{summary.get('benchmark')} after {summary.get('steps')} steps, {_duration(summary.get('seconds'))}"
    reporter.table(title, *_table(found))
    share = summary.get("metrics_share")
    if isinstance(share, float):
        reporter.note(f"metrics and diagnostics took {_percent(share)} of step time")
    folder = Path(str(summary["run_dir"]))
    for text in _curves(folder / "metrics.jsonl"):
        reporter.note(text)
    next_arguments = [f"model.path={_quoted(str(folder / 'final'))}", *evaluation_arguments]
    for text in _watched(summary):
        reporter.note(text)
    reporter.note(f"student   {folder / 'final'}")
    reporter.note(f"metrics   {folder / 'metrics.jsonl'}, samples.jsonl and evals/ next to it")
    reporter.note(f"next      opdkit eval {shlex.join(next_arguments)}")
    reporter.note(f"          opdkit report {shlex.quote(str(folder))}")


def _watched(summary: Mapping[str, Any]) -> Iterator[str]:
    """Reports early stopping and the step of the best student."""
    if early := summary.get("stopped_early"):
        best = "" if early["value"] is None else f" on {early['value']:.4g} at step {early['step']}"
        yield (
            f"stopped early at step {summary['steps']} of {early['of']}: {early['metric']} did not improve{best} in "
            f"{early['since']} readings"
        )
    if best := summary.get("best"):
        yield f"best      {best['folder']} (step {best['step']}: {best['metric']} {best['value']:.4g})"


def _curves(path: Path) -> list[str]:
    """Prints loss and reward over steps, one line each."""
    rows = read_rows(path)[0]
    found: list[str] = []
    for name, key in (("loss     ", "train/loss"), ("reward   ", "rollout/reward_mean")):
        text = curve(name, [float(row[key]) for row in rows if isinstance(row.get(key), int | float)])
        found += [text] if text else []
    return found


def close_evaluation(reporter: Reporter, summaries: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """summaries: the results of each benchmark. All go into one table; games also get their own."""
    games = [summary for summary in summaries if "n_crashed" in summary]
    if len(summaries) > 1:
        reporter.table("benchmarks", *_table([(str(summary.get("benchmark")), summary) for summary in summaries]))
    elif not games:
        reporter.table(str(summaries[0].get("benchmark")), *_table([("model", summaries[0])]))
    for summary in games:
        episode_tables(reporter, summary)
    reporter.note(f"results   {folder / 'evals'}")


def close_study(reporter: Reporter, summary: Mapping[str, Any], folder: Path) -> None:
    """summary: what a study returned: `title`, `seconds`, and `claims` with verdicts and measurements."""
    rows = [[str(claim["verdict"]), str(claim["claim"]), str(claim["measured"])] for claim in summary["claims"]]
    reporter.table(f"{summary['title']}, {_duration(summary.get('seconds'))}", ("verdict", "claim", "measured"), rows)
    reporter.note(f"page      {folder / 'findings.md'}, figures and tables next to it")


def _by_task(label: str, results: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """One summary for a single-task run, else one per task."""
    tasks: Mapping[str, Any] | None = results.get("tasks")
    return [(label, results)] if tasks is None else [(f"{label}, {name}", tasks[name]) for name in tasks]


def _table(found: Sequence[tuple[str, Mapping[str, Any]]]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Columns and rows of results by label; pass@k, avg@n and majority@n with several answers per problem."""
    several = {key: None for _, results in found for key in results if _SEVERAL.fullmatch(key)}
    known = any("standard_error" in results for _, results in found)
    keys = sorted(several, key=lambda key: (key.split("@")[0] != "pass", key.split("@")[0], int(key.split("@")[1])))
    rows = [
        [
            label,
            _percent(results.get("pass@1")),
            *([_percent(results.get("standard_error"))] if known else []),
            _interval(results),
            *(_percent(results.get(key)) for key in keys),
            _percent(results.get("truncated_fraction")),
            str(results.get("n_problems", "")),
        ]
        for label, results in found
    ]
    error = ("std. error",) if known else ()
    return ("", "pass@1", *error, "95 % interval", *keys, "truncated", "problems"), rows


def _interval(results: Mapping[str, Any]) -> str:
    low, high = results.get("ci95") or (None, None)
    return "" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"


def _quoted(value: str) -> str:
    """A value as an override, quoted if it has special characters."""
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
