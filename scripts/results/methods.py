"""Runs each method on a student that reads hints, and writes docs/results/methods.md.

    python scripts/assets/train_hint_student.py --output runs/assets
    nice -n 10 python scripts/results/methods.py run runs/methods      # goes on where it stopped; --only NAME for one
    python scripts/results/methods.py page runs/methods                # from the runs that are there

The rate of a method is the better of a small grid, on a seed, training problems and held-out problems of its own. A run
is `opdkit train` without its evaluations of the start and of the teacher.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median

import numpy as np
from learning_rates import accuracy
from short_runs import SEEDS, SHORT, Candidates, make

from opdkit.intervals import holm, paired_t, t_interval

_GROUPS = ("batch.prompts=4", "batch.rollouts_per_prompt=4")
MEMBERS: dict[str, tuple[str, ...]] = {
    "grpo": ("method=grpo", *_GROUPS),
    "opsd": ("method=opsd",),
    "rlsd": ("method=rlsd", *_GROUPS),
    "topk": ("method=opd", "objective=topk"),
    "sampled": ("method=opd", "objective=sampled"),
    "sdft": ("method=sdft",),
    "brts": ("method=brts",),
    "sdpo": ("method=sdpo", *_GROUPS),
    "context": ("method=context",),
}
"""What is compared: a name, and the overrides that make it. topk, sampled and brts have `embedded/teacher`."""

STUDENT = Path("runs/assets/hint_student").resolve()
REFERENCE = "grpo"
STEPS = 12
COMPARED = Candidates(MEMBERS, (f"model.path={STUDENT}", f"steps={STEPS}", *SHORT), (2e-4, 8e-4))
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "methods.md"


def run(root: Path, names: Sequence[str]) -> None:
    """The start, each method's grid, then its seeds."""
    make(root, COMPARED.start("topk"), trains=False)
    for name in names:
        for rate in COMPARED.rates:
            make(root, COMPARED.selection(name, rate))
        rate = COMPARED.best(root, name)
        assert rate is not None
        for seed in SEEDS:
            make(root, COMPARED.comparison(name, rate, seed))


def page(root: Path) -> str:
    """The page as Markdown, from the runs that are there."""
    start = accuracy(root, COMPARED.start("topk"))
    told = f"The student begins at {100 * start:.1f} % (greedy, 128 problems).\n" if start is not None else ""
    return "\n".join([_OPENING, told, *_table(root), "", _notes(root), ""])


def _table(root: Path) -> list[str]:
    found = {name: _finals(root, name) for name in MEMBERS}
    tests = {
        name: paired_t(np.array([100 * (values[s] - found[REFERENCE][s]) for s in SEEDS if s in values]))
        for name, values in found.items()
        if name != REFERENCE and len(values) > 1 and set(values) <= set(found[REFERENCE])
    }
    adjusted = dict(zip(tests, holm([test.p for test in tests.values()]), strict=True)) if tests else {}
    tried_rates = " / ".join(f"{rate:g}" for rate in COMPARED.rates)
    lines = [
        f"| method | rate | grid: {tried_rates} | seeds | pass@1, % | difference to "
        f"{REFERENCE}, points | p, Holm | tokens, first to last step | s a step, least |",
        "|---|--:|---|--:|---|---|--:|---|--:|",
    ]
    for name, values in found.items():
        rate, tried = COMPARED.best(root, name), COMPARED.grid(root, name)
        cells = " / ".join(f"{100 * tried[r]:.1f}" if r in tried else "not run" for r in COMPARED.rates)
        told = t_interval([100 * v for v in values.values()]).text(1) if values else "not run"
        difference = tests[name].estimate.text(1) if name in tests else ""
        p = f"{adjusted[name]:.3f}" if name in tests else ""
        lines.append(
            f"| {name} | {f'{rate:g}' if rate else ''} | {cells} | {len(values)} | {told} | {difference} | {p} | "
            f"{_lengths(root, name)} | {_seconds(root, name)} |"
        )
    return lines


def _finals(root: Path, name: str) -> dict[int, float]:
    rate = COMPARED.best(root, name) or COMPARED.rates[0]
    found = {seed: accuracy(root, COMPARED.comparison(name, rate, seed)) for seed in SEEDS}
    return {seed: value for seed, value in found.items() if value is not None}


def _summaries(root: Path, name: str) -> list[dict[str, list[float]]]:
    files = sorted((root / "final" / name).glob("seed*/summary.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _lengths(root: Path, name: str) -> str:
    runs = [summary["lengths"] for summary in _summaries(root, name)]
    return f"{fmean(one[0] for one in runs):.0f} to {fmean(one[-1] for one in runs):.0f}" if runs else ""


def _seconds(root: Path, name: str) -> str:
    runs = _summaries(root, name)
    return f"{median(summary['step_s'] for summary in runs):.2f}" if runs else ""  # pyright: ignore


def _notes(root: Path) -> str:
    short = [f"{name} ({len(_finals(root, name))} seeds)" for name in MEMBERS if len(_finals(root, name)) < len(SEEDS)]
    left = f"Not run to the end: {', '.join(short)}. " if short else ""
    return left + (
        "Not run at all: equal wall time (the machine was shared, so only a run's fastest step is told), the ablations "
        "of lam, N, tiers and hint, a third learning rate, longer runs."
    )


_OPENING = f"""# Each method on embedded material

Written by `python scripts/results/methods.py page runs/methods` from the runs that the same script's `run` leaves.
The student is what `scripts/assets/train_hint_student.py` makes; its weakness is planted: told nothing, it mostly
takes 7 for 6 and 8 for 9. `topk`, `sampled` and `brts` have `embedded/teacher`, an outside teacher at 99.6 %; the
others have no teacher but the student itself, and what it is told. Sums of 4 one-digit terms, {STEPS} steps of 16
rollouts, two updates a step, greedy pass@1 on 128 held-out problems, two shared CPU cores.

A learning rate is the better of two on seed 400 with other training and other held-out problems. The comparison has
seeds 300 to 304. Intervals are Student's, 95 %, over seeds; differences are paired by seed. `context` learns to
answer without steps, as its system turn asks: its accuracy is expected to fall, and so is its length.
"""


def main() -> None:
    """Run or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "page"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="+", choices=tuple(MEMBERS), default=tuple(MEMBERS))
    options = parser.parse_args()
    if options.action == "page":
        _PAGE.write_text(page(options.root), encoding="utf-8")
        return
    run(options.root, options.only)


if __name__ == "__main__":
    main()
