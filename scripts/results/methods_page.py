"""Writes docs/results/methods.md from the output of methods.py and told_prompts.py.

python scripts/results/methods_page.py runs/methods
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
from learning_rates import accuracy
from methods import ABLATIONS, FAMILIES, MEMBERS, STEPS, Family, candidates, starts
from short_runs import SEEDS

from opdkit.intervals import Paired, holm, paired_t, t_interval

_PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "methods.md"
_NOTES = Path(__file__).parent / "methods_notes.md"
Values = Mapping[int, float]
"""pass@1 in % by seed."""


def finals(root: Path, name: str) -> dict[int, float]:
    """pass@1 in % of the finished seeds."""
    found = {seed: accuracy(root, candidates(name).comparison(name, 0.0, seed)) for seed in SEEDS}
    return {seed: 100 * value for seed, value in found.items() if value is not None}


def summaries(root: Path, name: str) -> dict[int, dict[str, Any]]:
    """The output of each seed's run."""
    files = {seed: root / candidates(name).comparison(name, 0.0, seed).name / "summary.json" for seed in SEEDS}
    return {seed: json.loads(file.read_text(encoding="utf-8")) for seed, file in files.items() if file.is_file()}


def interval(values: Sequence[float]) -> str:
    """Mean and Student's 95 % interval; for fewer than three, the values."""
    return t_interval(values).text(1) if len(values) > 2 else ", ".join(f"{value:.1f}" for value in values)


def chance(p: float) -> str:
    """A formatted p-value."""
    return f"{p:.3f}" if p >= 0.001 else "below 0.001"


def paired(ours: Values, theirs: Values) -> Paired | None:
    """The difference by seed, None for fewer than three common seeds."""
    seeds = sorted({*ours} & {*theirs})
    return paired_t(np.array([ours[seed] - theirs[seed] for seed in seeds])) if len(seeds) > 2 else None


def steps_table(root: Path, family: Family) -> list[str]:
    """A row per method: grid, accuracy, and the differences from the references, Holm over the table."""
    found = {name: finals(root, name) for name in family.members}
    tests = {
        (name, base): test
        for name in family.members
        for base in family.references
        if name not in family.references and (test := paired(found[name], found[base])) is not None
    }
    adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True)) if tests else {}
    rates = sorted({*family.rates, *(rate for name in family.members for rate in _tried(root, name))})
    told_rates = " / ".join(f"{rate:g}" for rate in rates)
    heads = "".join(f" to {short(base)} (p) |" for base in family.references)
    lines = [f"| method | grid: {told_rates} | rate | seeds | pass@1, % |{heads} tokens, first to last step |"]
    lines.append("|---|---|--:|--:|---|" + "---|" * len(family.references) + "---|")
    for name, values in found.items():
        own = candidates(name)
        rate, tried = own.best(root, name), replace(own, rates=tuple(rates)).grid(root, name)
        if not tried:
            continue
        grid = " / ".join(f"{100 * tried[r]:.1f}" if r in tried else "-" for r in rates)
        cells = [
            f"{tests[name, base].estimate.text(1)} ({chance(adjusted[name, base])})" if (name, base) in tests else ""
            for base in family.references
        ]
        lengths = [one["lengths"] for one in summaries(root, name).values()]
        told = f"{fmean(x[0] for x in lengths):.0f} to {fmean(x[-1] for x in lengths):.0f}" if lengths else ""
        chosen = f"{rate:g}" if rate else ""
        row = (short(name), grid, chosen, str(len(values)), interval(list(values.values())), *cells, told)
        lines.append("| " + " | ".join(row) + " |")
    return lines if len(lines) > 2 else ["Not run yet."]


def _tried(root: Path, name: str) -> list[float]:
    return [float(file.parent.name[2:]) for file in (root / "grid" / name).glob("lr*/summary.json")]


def short(name: str) -> str:
    """A member's name within its table."""
    return name.removeprefix("hint_")


def time_table(root: Path, family: Family, start: float) -> list[str]:
    """pass@1 of the same runs at the time that the fastest method needs for all its steps. start: pass@1 before."""
    runs = {name: summaries(root, name) for name in family.members}
    runs = {name: found for name, found in runs.items() if found}
    if not runs:
        return []
    seconds = {name: median(one["step_cpu_s"] for one in found.values()) for name, found in runs.items()}
    budget = STEPS * min(seconds.values())
    lines = [
        f"{budget:.1f} s: the time the fastest method takes for {STEPS} steps.\n",
        "| method | s per step | steps that fit | seeds | pass@1 at that point, % |",
        "|---|--:|--:|--:|---|",
    ]
    for name, found in runs.items():
        fits = min(float(STEPS), budget / seconds[name])
        values = [100 * at(one, fits, start) for one in found.values()]
        lines.append(f"| {short(name)} | {seconds[name]:.2f} | {fits:.1f} | {len(values)} | {interval(values)} |")
    return lines


def at(summary: Mapping[str, Any], step: float, start: float) -> float:
    """pass@1 after this many steps, interpolated linearly between evaluations."""
    known = {0: start, STEPS: summary["after"]["pass@1"]} | {int(k): v for k, v in summary["curve"].items()}
    return float(np.interp(step, sorted(known), [known[at] for at in sorted(known)]))


def ablation_table(root: Path, methods: Sequence[str]) -> list[str]:
    """A row per method and ablation: accuracy, the difference from the method, and teacher statistics."""
    names = [*methods, *(name for name, one in ABLATIONS.items() if one.of in methods)]
    found = {name: finals(root, name) for name in names}
    lines = [
        "| method | changed | seeds | pass@1, % | vs. unchanged method | tiers 1 / 2 / 3, % | agreement, signal |",
        "|---|---|--:|---|---|---|---|",
    ]
    for name in (name for name in names if found[name]):
        of, says = (ABLATIONS[name].of, ABLATIONS[name].says) if name in ABLATIONS else (name, "")
        test = paired(found[name], found[of]) if name != of else None
        difference = test.estimate.text(1) if test else ""
        values = list(found[name].values())
        told = (tiers(root, name), verdicts(root, name))
        lines.append("| " + " | ".join((of, says, str(len(values)), interval(values), difference, *told)) + " |")
    return lines if len(lines) > 2 else []


def tiers(root: Path, name: str) -> str:
    """Shares of prompts by tier, means over steps and seeds."""
    means = [one["means"] for one in summaries(root, name).values()]
    names = [f"teacher/best_of/tier_{tier}" for tier in (1, 2, 3)]
    if not means or names[0] not in means[0]:
        return ""
    return " / ".join(f"{100 * fmean(one[key] for one in means):.1f}" for key in names)


def verdicts(root: Path, name: str) -> str:
    """How often a correct response ranks above a wrong one of its group; the share of groups with a signal; in %."""
    means = [one["means"] for one in summaries(root, name).values()]
    names = ("reward/agreement", "reward/no_signal")
    if not means or any(key not in means[0] for key in names):
        return ""
    agreed, without = (fmean(one[key] for one in means) for key in names)
    return f"{100 * agreed:.0f}, {100 * (1 - without):.0f}"


def told(root: Path) -> dict[str, dict[str, float]]:
    """pass@1 by student and prompt."""
    return json.loads((root / "told.json").read_text(encoding="utf-8"))


def told_table(root: Path) -> list[str]:
    """A row per prompt."""
    found = told(root)
    lines = ["| prompt | " + " | ".join(f"`model={name}`" for name in found) + " |", "|---|" + "--:|" * len(found)]
    for prompt in next(iter(found.values())):
        lines.append(f"| {prompt} | " + " | ".join(f"{100 * one[prompt]:.1f}" for one in found.values()) + " |")
    return lines


def missing(root: Path) -> str:
    """The unfinished part of the comparison and the ablations."""
    count = {name: len(finals(root, name)) for name in (*MEMBERS, *ABLATIONS)}
    lacking = [f"{name} ({seeds} of {len(SEEDS)})" for name, seeds in count.items() if seeds < len(SEEDS)]
    return f"Seeds that have not been run: {', '.join(lacking)}." if lacking else "Everything has been run."


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root: Path = parser.parse_args().root
    start = accuracy(root, candidates("topk").start("topk")) or 0.0
    marks = {
        "{ablations}": ablation_table(root, ("rlsd", "ropd", "brts")),
        "{told}": told_table(root),
        "{hint_time}": time_table(root, FAMILIES["hint"], told(root)["embedded_hint"]["plain"]),
        "{time}": time_table(root, FAMILIES["methods"], start),
        "{rubrics_ablations}": ablation_table(root, tuple(FAMILIES["rubrics"].members)),
        "{rubrics_long_ablations}": ablation_table(root, tuple(FAMILIES["rubrics_long"].members)),
        "{best_of_ablations}": ablation_table(root, tuple(FAMILIES["best_of"].members)),
        "{missing}": [missing(root)],
        "{start}": [f"{100 * start:.1f}"],
        "{start_long}": [f"{100 * (accuracy(root, starts()['start_long']) or 0.0):.1f}"],
        "{count}": [str(STEPS)],
    }
    marks |= {f"{{{name}}}": steps_table(root, family) for name, family in FAMILIES.items()}
    text = _NOTES.read_text(encoding="utf-8")
    for mark, lines in marks.items():
        text = text.replace(mark, "\n".join(lines))
    _PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
