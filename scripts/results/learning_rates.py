"""Runs four objectives, each at its own learning rate, and writes docs/results/learning_rates.md.

    python scripts/results/learning_rates.py run runs/learning_rates     # hours on a CPU; resumes where it stopped
    python scripts/results/learning_rates.py page runs/learning_rates

The rate of an objective is the one with the best mean pass@1 on seeds, training problems and held-out problems that the
comparison does not use. If the best is at an end of the grid, the grid is extended.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import numpy as np

from opdkit.intervals import Paired, holm, paired_t, t_interval

OBJECTIVES = ("topk", "sampled", "gkd_forward", "full_reverse_kl")
REFERENCE = "topk"
RATES = (1e-4, 2e-4, 4e-4, 8e-4, 1.6e-3)
SELECTION_SEEDS = (100, 101)
SELECTION = ("task.seed=1", "benchmark.source.seed=1", "steps=30")
SEEDS = (200, 201, 202, 203, 204)
HORIZONS = {30: 10, 120: 30}
"""Steps of a run -> steps between its evaluations."""
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "learning_rates.md"


@dataclass(frozen=True)
class Job:
    """One run: its folder below the root, and the overrides that make it."""

    name: str
    overrides: tuple[str, ...]


def selection(objective: str, rate: float, seed: int) -> Job:
    """A run for choosing a learning rate."""
    name = f"grid/{objective}/lr{rate:g}/seed{seed}"
    return Job(name, (f"objective={objective}", f"optim.lr={rate}", f"seed={seed}", *SELECTION))


def comparison(objective: str, rate: float, seed: int, steps: int) -> Job:
    """A run of the comparison."""
    overrides = (f"objective={objective}", f"optim.lr={rate}", f"seed={seed}", f"steps={steps}")
    return Job(f"final{steps}/{objective}/seed{seed}", (*overrides, f"eval_every={HORIZONS[steps]}"))


def run(root: Path, jobs: Sequence[Job]) -> None:
    """Runs each job without a summary, one after another."""
    for job in jobs:
        folder = root / job.name
        if (folder / "summary.json").is_file():
            continue
        told = [*job.overrides, "logger=jsonl", "log_samples=0", f"run_dir={folder}"]
        resumed = ["resume=true"] if any((folder / "checkpoints").glob("step-*")) else []
        subprocess.run([sys.executable, "-m", "opdkit", "train", *told, *resumed], check=True)


def accuracy(root: Path, job: Job) -> float | None:
    """pass@1 after the run, None if it has not finished."""
    file = root / job.name / "summary.json"
    return json.loads(file.read_text(encoding="utf-8"))["after"]["pass@1"] if file.is_file() else None


def chosen(root: Path, objective: str, *, make: bool) -> tuple[dict[float, float], float]:
    """Mean pass@1 by rate, and the best rate. `make`: run missing jobs and extend the grid past its ends."""
    rates = sorted({*RATES, *_tried(root, objective)})
    while True:
        jobs = {rate: [selection(objective, rate, seed) for seed in SELECTION_SEEDS] for rate in rates}
        if make:
            run(root, [job for some in jobs.values() for job in some])
        means = {rate: fmean([accuracy(root, job) or 0.0 for job in some]) for rate, some in jobs.items()}
        best = max(means, key=lambda rate: means[rate])
        inside = min(rates) < best < max(rates)
        if inside or not make:
            return means, best
        rates = sorted([*rates, best / 2 if best == min(rates) else best * 2])


def _tried(root: Path, objective: str) -> Iterator[float]:
    for folder in (root / "grid" / objective).glob("lr*"):
        yield float(folder.name[2:])


def page(root: Path) -> str:
    """The page as markdown, from the existing runs."""
    grids = {objective: chosen(root, objective, make=False) for objective in OBJECTIVES}
    best = {objective: rate for objective, (_, rate) in grids.items()}
    lines = [_OPENING, "## The grid\n", *_grid_table(grids), ""]
    for steps in HORIZONS:
        lines += [f"## {steps} steps\n", *_comparison(root, best, steps), ""]
    lines += ["## Equal wall time\n", *_wall_time(root, best), ""]
    return "\n".join(lines)


def _grid_table(grids: Mapping[str, tuple[dict[float, float], float]]) -> list[str]:
    rates = sorted({rate for means, _ in grids.values() for rate in means})
    lines = ["| objective | " + " | ".join(f"{rate:g}" for rate in rates) + " |", "|---|" + "--:|" * len(rates)]
    for objective, (means, best) in grids.items():
        cells = [f"{100 * means[r]:.1f}" if r in means else "" for r in rates]
        marked = [f"**{cell}**" if rate == best else cell for rate, cell in zip(rates, cells, strict=True)]
        lines.append(f"| {objective} | " + " | ".join(marked) + " |")
    return lines


def _comparison(root: Path, best: Mapping[str, float], steps: int) -> list[str]:
    found = {name: {s: accuracy(root, comparison(name, best[name], s, steps)) for s in SEEDS} for name in OBJECTIVES}
    tests = {name: _paired(found[name], found[REFERENCE]) for name in OBJECTIVES if name != REFERENCE}
    adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True))
    lines = ["| objective | learning rate | seeds | pass@1, % | difference from top-K, points | p, Holm |",
             "|---|--:|--:|---|---|--:|"]  # fmt: skip
    for name in OBJECTIVES:
        values = [100 * value for value in found[name].values() if value is not None]
        told = t_interval(values).text(1) if values else ""
        difference = tests[name].estimate.text(1) if name in tests else ""
        p = f"{adjusted[name]:.4f}" if name in adjusted else ""
        lines.append(f"| {name} | {best[name]:g} | {len(values)} | {told} | {difference} | {p} |")
    return lines


def _paired(first: Mapping[int, float | None], second: Mapping[int, float | None]) -> Paired:
    pairs = [(first[s], second[s]) for s in SEEDS]
    return paired_t(np.array([100 * (a - b) for a, b in pairs if a is not None and b is not None]))


def _wall_time(root: Path, best: Mapping[str, float]) -> list[str]:
    """pass@1 of the longer runs at equal time, interpolated between evaluations, with each objective's fastest step."""
    steps = max(HORIZONS)
    seconds = {name: _step_seconds(root, best, name) for name in OBJECTIVES}
    budget = HORIZONS[steps] * 3 * min(seconds.values())
    lines = ["| objective | s per step, min | steps that fit | pass@1 at that point, % |", "|---|--:|--:|---|"]
    for name in OBJECTIVES:
        fits = int(budget / seconds[name])
        folders = [root / comparison(name, best[name], seed, steps).name for seed in SEEDS]
        values = [100 * v for folder in folders if (v := _at(folder, fits)) is not None]
        told = t_interval(values).text(1) if values else ""
        lines.append(f"| {name} | {seconds[name]:.2f} | {fits} | {told} |")
    return [f"{budget:.0f} s: the time the fastest objective takes for {HORIZONS[steps] * 3} steps.\n", *lines]


def _step_seconds(root: Path, best: Mapping[str, float], name: str) -> float:
    """The median over seeds of a run's fastest step, since the machine was also doing other work."""
    least = []
    for seed in SEEDS:
        rows = _rows(root / comparison(name, best[name], seed, min(HORIZONS)).name)
        times = [
            sum(row[f"time/{p}_s"] for p in ("rollout", "teacher", "update")) for row in rows if "train/loss" in row
        ]
        least += [min(times)] if times else []
    return median(least) if least else float("nan")


def _at(folder: Path, step: int) -> float | None:
    """pass@1 after `step` steps, interpolated linearly between evaluations. None for an unfinished run."""
    if not (folder / "summary.json").is_file():
        return None
    known = {row["step"]: value for row in _rows(folder) for key, value in row.items() if key.endswith("/pass@1")}
    return float(np.interp(step, sorted(known), [known[at] for at in sorted(known)]))


def _rows(folder: Path) -> list[dict[str, float]]:
    file = folder / "metrics.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


_OPENING = """# Each objective at its own learning rate

Written by `python scripts/results/learning_rates.py page runs/learning_rates` from the runs of the same script's `run`.
The embedded pair, sums of 4 to 7 one-digit terms, the default recipe (64 rollouts per step, two passes of four updates,
AdamW with a cosine schedule, top-p 0.9), K = 32. The student starts at 41.0 %; the teacher has 99.6 %.

Learning rates are chosen on seeds 100 and 101 with other training problems (`task.seed=1`) and other held-out problems
(`benchmark.source.seed=1`), 30 steps per run, by the mean of greedy pass@1. The comparison has five fresh seeds (200 to
204) and the default problems. The rate chosen at 30 steps is also used at 120 steps. Intervals are Student's, 95 %,
over seeds; differences are paired by seed.
"""


def main() -> None:
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "page"))
    parser.add_argument("root", type=Path)
    options = parser.parse_args()
    root: Path = options.root
    if options.action == "page":
        _PAGE.write_text(page(root), encoding="utf-8")
        return
    best = {objective: chosen(root, objective, make=True)[1] for objective in OBJECTIVES}
    for steps in HORIZONS:
        run(root, [comparison(name, best[name], seed, steps) for seed in SEEDS for name in OBJECTIVES])


if __name__ == "__main__":
    main()
