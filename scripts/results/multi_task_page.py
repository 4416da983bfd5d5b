"""Write docs/results/multi_task.md from the runs of `opdkit sweep experiment=paper_multi_task`.

    python scripts/results/multi_task_page.py runs/multi_task

The arguments are folders with runs; only finished runs count, and missing ones show in the number of seeds.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from opdkit.charts.axes import draw_band
from opdkit.charts.style import image, panels, series_styles, styled
from opdkit.files import write_whole
from opdkit.intervals import Estimate, Paired, bootstrap, holm, paired_t
from opdkit.reports.prose import p_text
from opdkit.reports.runs import Run, read_all

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "results" / "multi_task.md"
NOTES = Path(__file__).with_name("multi_task_notes.md")
TASKS = {"sums": "chain_sum", "games": "textworld_express"}
CURVES = {
    "sums: reward of rollouts": "sums/rollout/reward_mean",
    "games: success of rollouts": "games/rollout/success",
    "games: invalid actions": "games/rollout/invalid_fraction",
}
ORDER = ("sampled", "sampled + mask", "topk", "topk + mask", "grpo")
_SUPPORTS = {"sampled": "sampled", "teacher": "topk", None: "grpo"}


@dataclass(frozen=True)
class Measured:
    """A finished run, its method, and (when, task) -> share solved."""

    run: Run
    method: str
    solved: Mapping[tuple[str, str], float]


def measured(run: Run) -> Measured:
    """The results of the evaluations of each task in its folder."""
    name = _SUPPORTS[run.config["objective"].get("support")]
    masked = not run.config["masking"]["_target_"].endswith("NoMask")
    solved: dict[tuple[str, str], float] = {}
    for task, benchmark in TASKS.items():
        for when in ("before", "teacher", "after"):
            file = run.folder / "evals" / ("" if when == "after" else when) / f"{benchmark}.json"
            solved[when, task] = json.loads(file.read_text(encoding="utf-8"))["pass@1"]
    return Measured(run, f"{name} + mask" if masked else name, solved)


def shares(runs: Sequence[Measured], method: str, task: str) -> dict[str, float]:
    """Seed -> points solved after training, in [0, 100]; task `both` is the mean of the two."""
    tasks = tuple(TASKS) if task == "both" else (task,)
    return {
        one.run.seed: 100 * float(np.mean([one.solved["after", name] for name in tasks]))
        for one in runs
        if one.method == method
    }


def compared(runs: Sequence[Measured], methods: Sequence[str], task: str) -> dict[str, tuple[Paired, float]]:
    """Each method minus the first, paired by seed, with Holm's p over them."""
    first = shares(runs, methods[0], task)
    paired_tests: dict[str, Paired] = {}
    for method in methods[1:]:
        other = shares(runs, method, task)
        common = sorted(first.keys() & other.keys())
        if len(common) > 1:
            paired_tests[method] = paired_t(np.array([other[seed] - first[seed] for seed in common]))
    adjusted = holm([paired.p for paired in paired_tests.values()])
    return {method: (paired, p) for (method, paired), p in zip(paired_tests.items(), adjusted, strict=True)}


def interval(estimate: Estimate, sign: str = "") -> str:
    """`86.1 (84.0 to 88.2)`."""
    text = f"{estimate.mean:{sign}.1f}"
    return text if math.isnan(estimate.low) else f"{text} ({estimate.low:{sign}.1f} to {estimate.high:{sign}.1f})"


def table(runs: Sequence[Measured], methods: Sequence[str]) -> list[str]:
    """A row per method: both tasks, their mean, and the difference of the mean from the first method."""
    lines = [
        "| method | seeds | sums, % | games, % | mean | difference of the mean | p |",
        "|---|--:|---|---|---|---|---|",
    ]
    before, teacher = ({task: 100 * runs[0].solved[when, task] for task in TASKS} for when in ("before", "teacher"))
    for name, values in (("untrained student", before), ("each task's teacher", teacher)):
        cells = " | ".join(f"{value:.1f}" for value in values.values())
        lines.append(f"| {name} |  | {cells} | {np.mean(list(values.values())):.1f} |  |  |")
    differences = compared(runs, methods, "both")
    for method in methods:
        cells = [interval(bootstrap(np.array(list(shares(runs, method, task).values())))) for task in (*TASKS, "both")]
        paired, p = differences.get(method, (None, math.nan))
        difference = interval(paired.estimate, "+") if paired else ""
        seeds = len(shares(runs, method, "both"))
        lines.append(f"| {method} | {seeds} | {' | '.join(cells)} | {difference} | {p_text(p) if paired else ''} |")
    return lines


def draw(runs: Sequence[Measured], methods: Sequence[str], path: Path) -> None:
    """Writes learning curves as PNG: the mean over seeds with their range as a band."""
    with styled():
        figure, all_axes = panels(3, width=3.5, height=3.1)
        for axes, (title, metric) in zip(all_axes, CURVES.items(), strict=True):
            axes.set_title(title)
            axes.set_xlabel("step", loc="right")
            for method, style in zip(methods, series_styles(len(methods)), strict=True):
                curves = [one.run.curves[metric] for one in runs if one.method == method]
                values = np.array([curve.values for curve in curves])
                low, high = values.min(axis=0), values.max(axis=0)
                last = [len(curves[0].steps) - 1]
                draw_band(axes, curves[0].steps, values.mean(axis=0), low, high, label=method, markevery=last, **style)
            axes.set_ylim(0, 1)
        figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        write_whole(path, image(figure))


def main(arguments: Sequence[str]) -> None:
    """Writes the page and its figure."""
    if not arguments:
        sys.exit(__doc__)
    every_run, remarks = read_all(arguments)
    for remark in remarks:
        print(remark, file=sys.stderr)
    runs = [measured(run) for run in every_run if run.finished]
    methods = [method for method in ORDER if any(one.method == method for one in runs)]
    figure = PAGE.with_suffix(".png")
    draw(runs, methods, figure)
    notes_above, _, notes_below = NOTES.read_text(encoding="utf-8").partition("<!-- table -->\n")
    picture = f"![Learning curves: reward of sums, success in games, invalid actions]({figure.name})"
    spent = f"A run took {np.median([one.run.seconds for one in runs]):.0f} s (median of {len(runs)}), on one thread."
    parts = [notes_above.rstrip(), *table(runs, methods), "", picture, "", f"Bands are the range over seeds. {spent}"]
    PAGE.write_text("\n".join([*parts[:1], "", *parts[1:], "", notes_below.strip(), ""]), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {len(runs)} finished runs")


if __name__ == "__main__":
    main(sys.argv[1:])
