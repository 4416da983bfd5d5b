"""From answers to numbers, and from numbers to a page."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from opdkit.bench.cases import CONTESTANTS, Case
from opdkit.bench.runner import Plan

RATIOS = ("times_faster", "times_faster_median", "times_less_cpu", "times_less_memory")
PACKAGES = ("torch", "transformers", "accelerate", "trl", "liger-kernel")


def summarise(repeats: list[dict[str, Any]]) -> dict[str, float]:
    """min_s: the fastest step of all repeats; median_s: the median of each repeat's fastest step;
    cpu_s: the least processor time of all steps; extra_mib and gradient_mib: medians over repeats;
    loss: of the first step."""
    fastest = [min(answer["seconds"]) for answer in repeats]
    return {
        "min_s": min(fastest),
        "median_s": statistics.median(fastest),
        "cpu_s": min(min(answer["cpu_seconds"]) for answer in repeats),
        "extra_mib": statistics.median(answer["extra_mib"] for answer in repeats),
        "gradient_mib": statistics.median(answer["gradient_mib"] for answer in repeats),
        "loss": repeats[0]["losses"][0],
        "repeats": len(repeats),
    }


def compare(case: Case, found: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of each contestant and, beside them, the baseline's divided by them (above 1: better than it).

    times_faster: of minima; times_faster_median; times_less_cpu; times_less_memory.
    """
    rows: dict[str, Any] = {}
    for name, answers in found.items():
        rows[name] = {"title": CONTESTANTS[name].title}
        if answers["repeats"]:
            rows[name] |= summarise(answers["repeats"])
        if "error" in answers:
            rows[name]["error"] = answers["error"]
    base = rows.get(case.baseline, {})
    for row in rows.values():
        if "min_s" in row and "min_s" in base:
            row["times_faster"] = base["min_s"] / row["min_s"]
            row["times_less_cpu"] = base["cpu_s"] / row["cpu_s"]
            row["times_faster_median"] = base["median_s"] / row["median_s"]
            # A contestant that needs less than its dense gradient has no ratio to give.
            row["times_less_memory"] = base["extra_mib"] / row["extra_mib"] if row["extra_mib"] > 0 else None
    return {"title": case.title, "shape": asdict(case.shape), "baseline": case.baseline, "rows": rows}


def machine(plan: Plan, load_before: float | None, load_after: float | None) -> dict[str, Any]:
    """What the numbers depend on, without a name or a path: processor kind, threads, versions, load average."""
    import psutil
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": f"{psutil.cpu_count()} cores, {platform.machine()}",
        "accelerator": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "threads": plan.threads,
        "repeats": plan.repeats,
        "steps": plan.steps,
        "load_before": load_before,
        "load_after": load_after,
    }


def table(compared: Mapping[str, Any]) -> str:
    """One case as a markdown table."""
    lines = [
        "| | min s | median s | CPU s | extra MiB | times faster (min) | (median) | (CPU) | times less memory |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in compared["rows"].values():
        if "min_s" not in row:
            lines.append(f"| {row['title']} | {row.get('error', 'not measured')} | | | | | | | |")
            continue
        ratios = [_ratio(row.get(key)) for key in RATIOS]
        seconds = " | ".join(f"{row[key]:.3f}" for key in ("min_s", "median_s", "cpu_s"))
        lines.append(f"| {row['title']} | {seconds} | {row['extra_mib']:.0f} | " + " | ".join(ratios) + " |")
    return "\n".join(lines)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def page(command: str, about: Mapping[str, Any], tables: list[tuple[Case, Mapping[str, Any]]]) -> str:
    """The whole page."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    device = f", {about['accelerator']}" if about["accelerator"] else ""
    loads = ""
    if about["load_before"] is not None:
        loads = f" Load average before and after: {about['load_before']:.2f}, {about['load_after']:.2f}."
    parts = [
        "# Speed and memory beside other projects",
        "",
        f"Written by `{command}`; don't edit. {about['processor']} ({about['instructions']}){device}, "
        f"{about['memory_gib']} GiB, {about['system']}, Python {about['python']}, {versions}; "
        f"{about['threads']} threads, float32. {about['repeats']} repeats, each a fresh process that warms up with one "
        f"step, weighs one and times {about['steps']}; contestants take turns.{loads}",
        "",
        METHOD,
    ]
    for case, compared in tables:
        parts += ["", f"## {case.title}: {case.shape.describe()}", "", table(compared), ""]
        parts += [f"- {line}" for line in verdicts(case, compared)]
    return "\n".join(parts) + "\n"


def verdicts(case: Case, compared: Mapping[str, Any]) -> list[str]:
    """Each goal of the case, with what was measured."""
    row = compared["rows"].get(case.contestants[0], {})
    lines = []
    for goal in case.goals:
        value = row.get({"time": "times_faster", "memory": "times_less_memory"}[goal.measure])
        if value is None:
            lines.append(f"Goal: {goal.text}. Not measured.")
            continue
        verdict = "reached" if value >= goal.factor else "not reached"
        lines.append(f"Goal: {goal.text}. Measured: {value:.1f} times ({verdict}).")
    return lines


METHOD = """Time is one step from its inputs at hand to its end. *min*: the fastest step of all repeats; *median*: of
the repeats' fastest steps; *CPU*: the least processor time, all threads together. Ratios are the baseline's number
divided by the contestant's. A machine can be busy with something else: the ratios are what to read, and the seconds
are for scale.

*Extra MiB* is the peak of resident memory during one step, less what is resident just before it when the weights,
dense gradients of everything trained, and the optimiser's state all exist and have been written to (freed pages are
handed back first). So it holds activations, logits, gathered rows, and any second copy of a gradient.

The peers compute another loss: the whole vocabulary instead of the teacher's top K. That is the point of the
comparison: what a step costs when only K rows of lm_head are needed."""
