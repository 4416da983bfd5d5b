"""Writes the sentences of a report, identical in every format."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence

from opdkit.intervals import Estimate
from opdkit.reports.document import Document
from opdkit.reports.results import Benchmark, Difference, Result
from opdkit.reports.runs import Run
from opdkit.reports.text import NOTHING, minus
from opdkit.untrusted import visible

LONGEST_TITLE = 64


def title(document: Document) -> str:
    """The title: the configurations and benchmarks."""
    names = ", ".join(one.name for one in document.benchmarks) or "no finished run"
    count = len(document.configurations)
    if count == 1:
        return f"{document.configurations[0].label} on {names}"
    if count <= 3 and document.benchmarks:
        text = f"{' vs. '.join(one.label for one in document.configurations)} on {names}"
        if len(text) <= LONGEST_TITLE:
            return text
    return f"{count} configurations on {names}"


def facts(document: Document) -> str:
    """Counts: runs, configurations, seeds, unfinished runs."""
    seeds = {run.seed for run in document.runs}
    open_runs = sum(not run.finished for run in document.runs)
    parts = [
        plural(len(document.runs), "run"),
        plural(len(document.configurations), "configuration"),
        plural(len(seeds), "seed"),
    ]
    if open_runs:
        parts.append(f"{open_runs} not finished")
    return " · ".join(parts)


def plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def lead(document: Document) -> list[str]:
    """One or two sentences per benchmark: the best result, and its margin over the next."""
    return [sentence for one in document.benchmarks for sentence in _lead(one)]


def _lead(benchmark: Benchmark) -> list[str]:
    best = max(benchmark.results, key=lambda result: result.accuracy.mean)
    frame = [f"from {percent(best.before)} before"] if math.isfinite(best.before) else []
    frame += [f"the teacher has {percent(best.teacher)}"] if math.isfinite(best.teacher) else []
    about = ", ".join(frame)
    sentences = [
        f"{best.configuration.label}: {percent(best.accuracy.mean)} pass@1 on {benchmark.name}"
        f"{between(best.accuracy)}, {plural(len(best.by_seed), 'seed')}{'; ' + about if about else ''}."
    ]
    if len(benchmark.results) > 1:
        sentences.append(_against(benchmark, best))
    return sentences


def _against(benchmark: Benchmark, best: Result) -> str:
    others = sorted((r for r in benchmark.results if r is not best), key=lambda result: -result.accuracy.mean)
    second = others[0]
    difference = next((d for d in benchmark.differences if d.first is best and d.second is second), None)
    if difference is None:
        return f"Next is {second.configuration.label} with {percent(second.accuracy.mean)}."
    return (
        f"Next is {second.configuration.label}, behind by {100 * difference.estimate.mean:.1f} points"
        f"{between(difference.estimate)}{_sureness(difference)}."
    )


def _sureness(difference: Difference) -> str:
    if math.isnan(difference.adjusted):
        return ", one seed" if difference.pairs == 1 else ""
    verdict = "" if difference.adjusted < 0.05 else ": not significant with these seeds"
    return f", p = {p_text(difference.adjusted)} after Holm's correction{verdict}".replace("= <", "< ")


def percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%" if math.isfinite(value) else NOTHING


def between(estimate: Estimate) -> str:
    if not math.isfinite(estimate.low):
        return ""
    return minus(f" ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})")


def p_text(p: float) -> str:
    """Three decimals; `<0.001` below; a dash if there is none."""
    if math.isnan(p):
        return NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def commit(run: Run) -> str:
    """The commit of the run, marked if the checkout had uncommitted changes."""
    commit_id = run.environment.get("commit")
    if not isinstance(commit_id, str) or not commit_id:
        return "no commit recorded"
    return f"commit {visible(commit_id[:10])}{' + changes' if run.environment.get('uncommitted_changes') else ''}"


def environment_remarks(runs: Sequence[Run]) -> list[str]:
    """The environment of the runs: what they share and what differs."""
    remarks: list[str] = []
    commits = Counter(commit(run) for run in runs)
    if len(commits) == 1:
        remarks.append(f"All from {next(iter(commits))}.")
    else:
        remarks.append(
            "From several commits: " + ", ".join(f"{name} ({n})" for name, n in commits.most_common(6)) + "."
        )
    packages = [versions_of for run in runs if isinstance(versions_of := run.environment.get("packages"), dict)]
    names = sorted({name for one in packages for name in one})
    for name in names:
        versions = Counter(str(one.get(name, "absent")) for one in packages)
        if len(versions) > 1:
            remarks.append(f"{name}: " + ", ".join(f"{version} ({n})" for version, n in versions.most_common()) + ".")
    machines = Counter(
        json.dumps([run.environment.get(key) for key in ("platform", "cpu_count", "torch_threads", "accelerators")])
        for run in runs
        if run.environment
    )
    if len(machines) > 1:
        remarks.append(f"Run on {len(machines)} kinds of machine or thread counts: times are not comparable.")
    return remarks
