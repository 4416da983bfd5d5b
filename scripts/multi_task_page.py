"""Write docs/results/multi_task.md from the runs of `opdkit sweep experiment=paper_multi_task`.

    python scripts/multi_task_page.py runs/multi_task

The arguments are folders that hold runs; finished ones count, and what is not there is named by its number of seeds.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import yaml
from matplotlib.figure import Figure
from numpy.typing import NDArray

from opdkit.reporting.intervals import Estimate, Paired, bootstrap, holm, paired_t
from opdkit.reporting.words import p_text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results" / "multi_task.md"
NOTES = ROOT / "scripts" / "multi_task_notes.md"
TASKS = {"sums": ("chain_sum", "pass@1"), "games": ("textworld_express", "success")}
CURVES = {
    "sums: reward of rollouts": "sums/rollout/reward_mean",
    "games: success of rollouts": "games/rollout/success",
    "games: invalid actions": "games/rollout/invalid_fraction",
}
ORDER = ("sampled", "sampled + mask", "topk", "topk + mask", "grpo")
_SUPPORTS = {"sampled": "sampled", "teacher": "topk", None: "grpo"}
_COLOURS = ("#0b63b0", "#008060", "#c8500a", "#b0408a", "#1a1d21")


@dataclass(frozen=True)
class Run:
    """A finished run: its method and seed, (when, task) -> share solved, and metric -> (steps, values)."""

    method: str
    seed: int
    solved: Mapping[tuple[str, str], float]
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
    seconds: float


def read(folder: Path) -> Run:
    """One run folder."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    name = _SUPPORTS[config["objective"].get("support")]
    masked = not config["masking"]["_target_"].endswith("NoMask")
    solved: dict[tuple[str, str], float] = {}
    for task, (benchmark, _) in TASKS.items():
        for when in ("before", "teacher", "after"):
            file = folder / "evals" / ("" if when == "after" else when) / f"{benchmark}.json"
            solved[when, task] = json.loads(file.read_text(encoding="utf-8"))["pass@1"]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    curves = {}
    for metric in CURVES.values():
        found = [(row["step"], row[metric]) for row in rows if row.get(metric) is not None]
        curves[metric] = tuple(np.array(found, dtype=np.float64).T) if found else (np.zeros(0), np.zeros(0))
    seconds = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["seconds"]
    return Run(f"{name} + mask" if masked else name, config["seed"], solved, curves, seconds)


def shares(runs: Sequence[Run], method: str, task: str) -> dict[int, float]:
    """Seed -> points solved after training, in [0, 100]; task `both` is the mean of the two."""
    tasks = tuple(TASKS) if task == "both" else (task,)
    return {
        run.seed: 100 * float(np.mean([run.solved["after", name] for name in tasks]))
        for run in runs
        if run.method == method
    }


def compared(runs: Sequence[Run], methods: Sequence[str], task: str) -> dict[str, tuple[Paired, float]]:
    """Each method minus the first, seed by seed, with Holm's p over them."""
    first = shares(runs, methods[0], task)
    found: dict[str, Paired] = {}
    for method in methods[1:]:
        other = shares(runs, method, task)
        common = sorted(first.keys() & other.keys())
        if len(common) > 1:
            found[method] = paired_t(np.array([other[seed] - first[seed] for seed in common]))
    adjusted = holm([paired.p for paired in found.values()])
    return {method: (paired, p) for (method, paired), p in zip(found.items(), adjusted, strict=True)}


def interval(estimate: Estimate, sign: str = "") -> str:
    """`86.1 (84.0 to 88.2)`."""
    text = f"{estimate.mean:{sign}.1f}"
    return text if math.isnan(estimate.low) else f"{text} ({estimate.low:{sign}.1f} to {estimate.high:{sign}.1f})"


def table(runs: Sequence[Run], methods: Sequence[str]) -> list[str]:
    """A row a method: both tasks and their mean, and the difference of the mean to the first method."""
    lines = [
        "| method | seeds | sums, % | games, % | mean | difference of the mean | p |",
        "|---|--:|---|---|---|---|---|",
    ]
    before, teacher = ({task: 100 * runs[0].solved[when, task] for task in TASKS} for when in ("before", "teacher"))
    for name, values in (("untrained student", before), ("each task's teacher", teacher)):
        cells = " | ".join(f"{value:.1f}" for value in values.values())
        lines.append(f"| {name} |  | {cells} | {np.mean(list(values.values())):.1f} |  |  |")
    told = compared(runs, methods, "both")
    for method in methods:
        cells = [interval(bootstrap(np.array(list(shares(runs, method, task).values())))) for task in (*TASKS, "both")]
        paired, p = told.get(method, (None, math.nan))
        difference = interval(paired.estimate, "+") if paired else ""
        seeds = len(shares(runs, method, "both"))
        lines.append(f"| {method} | {seeds} | {' | '.join(cells)} | {difference} | {p_text(p) if paired else ''} |")
    return lines


def draw(runs: Sequence[Run], methods: Sequence[str], path: Path) -> None:
    """Learning curves, mean over seeds with the range as a band."""
    style: dict[Any, Any] = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True}
    with matplotlib.rc_context({**style, "grid.color": "#e6e9ed", "axes.titlesize": 10, "axes.titlelocation": "left"}):
        figure = Figure(figsize=(10.5, 3.1), layout="constrained")
        for axes, (title, metric) in zip(figure.subplots(1, 3), CURVES.items(), strict=True):
            axes.set_title(title)
            axes.set_xlabel("step", loc="right")
            for method, ink in zip(methods, _COLOURS, strict=False):
                found = [run.curves[metric] for run in runs if run.method == method and run.curves[metric][0].size]
                if not found:
                    continue
                values = np.array([values for _, values in found])
                axes.plot(found[0][0], values.mean(axis=0), color=ink, label=method, linewidth=1.5)
                axes.fill_between(
                    found[0][0], values.min(axis=0), values.max(axis=0), color=ink, alpha=0.12, linewidth=0
                )
            axes.set_ylim(0, 1)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def main(arguments: Sequence[str]) -> None:
    """Writes the page and its figure."""
    if not arguments:
        sys.exit(__doc__)
    folders = sorted(file.parent for root in arguments for file in Path(root).rglob("summary.json"))
    runs = [read(folder) for folder in folders]
    methods = [method for method in ORDER if any(run.method == method for run in runs)]
    figure = PAGE.with_suffix(".png")
    draw(runs, methods, figure)
    opening, _, closing = NOTES.read_text(encoding="utf-8").partition("<!-- table -->\n")
    picture = f"![Learning curves: reward of sums, success in games, invalid actions]({figure.name})"
    spent = f"A run took {np.median([run.seconds for run in runs]):.0f} s (median of {len(runs)}), on one thread."
    parts = [opening.rstrip(), *table(runs, methods), "", picture, "", f"Bands are the range over seeds. {spent}"]
    PAGE.write_text("\n".join([*parts[:1], "", *parts[1:], "", closing.strip(), ""]), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(runs)} finished runs")


if __name__ == "__main__":
    main(sys.argv[1:])
