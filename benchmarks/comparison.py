"""Contestants on one shape: times, memory, and ratios against a baseline."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from benchmarks.cases import Case, Goal
from benchmarks.contestants import CONTESTANTS

RATIOS = ("times_faster", "times_faster_median", "times_less_cpu", "times_less_memory")
HEADER = (
    "| | min s | median s | CPU s | extra MiB | times faster (min) | (median) | (CPU) | times less memory | loss |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)


def summarise(repeats: list[dict[str, Any]]) -> dict[str, Any]:
    """min_s: the fastest step of all repeats; median_s: the median of each repeat's fastest step;
    cpu_s: the least CPU time of all steps; extra_mib and gradient_mib: of the repeat that measured memory;
    loss: of the first step, None if there is none."""
    fastest = [min(answer["seconds"]) for answer in repeats]
    losses = repeats[0]["losses"]
    return {
        "min_s": min(fastest),
        "median_s": statistics.median(fastest),
        "cpu_s": min(min(answer["cpu_seconds"]) for answer in repeats),
        "extra_mib": repeats[0]["extra_mib"],
        "gradient_mib": repeats[0]["gradient_mib"],
        "loss": losses[0] if losses else None,
        "repeats": len(repeats),
    }


def summary(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of each contestant, and the baseline's divided by them (above 1: better than the baseline).

    times_faster: of minima; times_faster_median; times_less_cpu; times_less_memory. All under "rows".
    """
    rows: dict[str, Any] = {}
    for entry in case.entries:
        answers = found[entry.name]
        row: dict[str, Any] = {"title": CONTESTANTS[entry.contestant].title}
        if answers["repeats"]:
            row |= summarise(answers["repeats"])
        if "error" in answers:
            row["error"] = answers["error"]
        rows[entry.contestant] = row
    base = rows.get(case.baseline, {})
    for row in rows.values():
        if "min_s" in row and "min_s" in base:
            row["times_faster"] = base["min_s"] / row["min_s"]
            row["times_faster_median"] = base["median_s"] / row["median_s"]
            row["times_less_cpu"] = base["cpu_s"] / row["cpu_s"]
            # No ratio if a contestant needs less memory than its dense gradient.
            row["times_less_memory"] = base["extra_mib"] / row["extra_mib"] if row["extra_mib"] > 0 else None
    return {"rows": rows}


def lines(case: Case, summarised: Mapping[str, Any]) -> list[str]:
    """The section in markdown."""
    told = [f"{case.shape.describe()}. Ratios against {CONTESTANTS[case.baseline].title}.", "", *HEADER]
    for row in summarised["rows"].values():
        if "min_s" not in row:
            told.append(f"| {row['title']} | {row.get('error', 'not measured')} |" + " |" * 8)
            continue
        cells = [f"{row[key]:.3f}" for key in ("min_s", "median_s", "cpu_s")]
        cells += [f"{row['extra_mib']:.0f}", *(_ratio(row.get(key)) for key in RATIOS)]
        cells.append("" if row["loss"] is None else f"{row['loss']:.5f}")
        told.append(f"| {row['title']} | " + " | ".join(cells) + " |")
    verdicts = [f"- Goal: {goal.text}. {verdict(goal, summarised['rows'])}" for goal in case.goals]
    return told + (["", *verdicts] if verdicts else [])


def verdict(goal: Goal, rows: Mapping[str, Any]) -> str:
    """The measurement for a goal, relative to the best measured rival."""
    ours = rows.get(goal.contestant, {})
    rivals = [rows[name] for name in goal.against if "min_s" in rows.get(name, {})]
    if "min_s" not in ours or not rivals:
        return "Not measured."
    if goal.measure == "memory":
        least = min(row["extra_mib"] for row in rivals)
        if ours["extra_mib"] <= 0:
            return f"Measured: no memory beyond its gradients, against {least:.0f} MiB (reached)."
        factor = least / ours["extra_mib"]
        return f"Measured: {factor:.1f} times ({_reached(factor >= goal.factor)})."
    by_minimum = min(row["min_s"] for row in rivals) / ours["min_s"]
    by_median = min(row["median_s"] for row in rivals) / ours["median_s"]
    said = f"Measured: {by_minimum:.1f} times by minima, {by_median:.1f} by medians"
    if (by_minimum >= goal.factor) == (by_median >= goal.factor):
        return f"{said} ({_reached(by_minimum >= goal.factor)})."
    return f"{said} (reached by {'minima' if by_minimum >= goal.factor else 'medians'} alone)."


def _reached(holds: bool) -> str:
    return "reached" if holds else "not reached"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
