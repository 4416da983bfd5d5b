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
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

import numpy as np
from learning_rates import Job, accuracy

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.evaluation import Asking, evaluate_on
from opdkit.intervals import holm, paired_t, t_interval
from opdkit.training.collect import StepData
from opdkit.training.experiment import Experiment
from opdkit.training.loop import Loop
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.signals import StopRequest

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
RATES = (2e-4, 8e-4)
SEEDS = (300, 301, 302, 303, 304)
STEPS = 12
_SELECTION = ("seed=400", "task.seed=1", "benchmark.source.seed=1")
_COMMON = (
    f"model.path={STUDENT}", f"steps={STEPS}", "batch.prompts=16", "batch.mini_batch=8", "batch.micro_batch=8",
    "batch.epochs=1", "task.parameters.max_terms=4", "benchmark.source.parameters.max_terms=4", "benchmark.limit=128",
    "optim.warmup_steps=2", "logger=jsonl", "diagnostics=none", "vocabulary_metrics_every=0", "gradient_variance=null",
)  # fmt: skip
_PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "methods.md"


def selection(name: str, rate: float) -> Job:
    """A run that the choice of a learning rate looks at."""
    return Job(f"grid/{name}/lr{rate:g}", (*_COMMON, *MEMBERS[name], f"optim.lr={rate}", *_SELECTION))


def comparison(name: str, rate: float, seed: int) -> Job:
    """A run that is compared."""
    return Job(f"final/{name}/seed{seed}", (*_COMMON, *MEMBERS[name], f"optim.lr={rate}", f"seed={seed}"))


def grid(root: Path, name: str) -> dict[float, float]:
    """pass@1 by learning rate, of the runs that have ended."""
    found = {rate: accuracy(root, selection(name, rate)) for rate in RATES}
    return {rate: value for rate, value in found.items() if value is not None}


def best(root: Path, name: str) -> float | None:
    """The best rate, None where the grid has not ended."""
    found = grid(root, name)
    return max(found, key=lambda rate: found[rate]) if len(found) == len(RATES) else None


def built(overrides: Sequence[str]) -> Experiment:
    """The experiment that the command line would build; the last value of a key counts."""
    last = {text.split("=")[0]: text for text in overrides}
    source = Source("train")
    choices = {group: text.split("=")[1] for group, text in last.items() if group in ("objective", "method", "model")}
    chosen = {"objective": "topk", "teacher": "embedded"} | choices
    return build_experiment(compose(source, list(last.values())), Origin(list(last.values()), chosen, source.folders))


@dataclass
class _Observer:
    """Keeps the time of each step and the length of its rollouts."""

    seconds: list[float] = field(default_factory=list[float])
    lengths: list[float] = field(default_factory=list[float])

    def evaluate(self, step: int) -> dict[str, float]:
        return {}

    def log(self, step: int, metrics: Mapping[str, float], data: Sequence[StepData]) -> None:
        self.seconds.append(sum(metrics[f"time/{part}_s"] for part in ("rollout", "teacher", "update")))
        self.lengths.append(metrics["rollout/length_mean"])

    def saved(self, step: int, folder: Path) -> None:
        pass

    def card(self, step: int) -> str:
        return ""


def make(root: Path, job: Job, *, trains: bool = True) -> None:
    """Run a job that has no summary yet. trains: False evaluates the student as it begins."""
    folder = root / job.name
    if (folder / "summary.json").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    experiment = built(job.overrides)
    session = open_session(experiment, None)
    seen = _Observer()
    if trains:
        Loop(experiment.looping(), session, folder / "checkpoints", seen, StopRequest()).run()
        shutil.rmtree(folder / "checkpoints")
    after = _evaluated(session, experiment, folder)
    told = {"after": after, "step_s": min(seen.seconds, default=0.0), "lengths": seen.lengths}
    (folder / "summary.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    session.close()
    close_session()
    print(f"{job.name}: {after['pass@1']:.3f}", flush=True)


def _evaluated(session: Session, experiment: Experiment, folder: Path) -> dict[str, float]:
    student, task = session.policy.model, session.tasks[""].settings
    asking = Asking(
        engine=task.rollout.open(student), renderer=student, seed=experiment.seed, folder=folder / "evals",
        max_prompt_tokens=task.rollout.max_prompt_tokens, progress=lambda text: None,
    )  # fmt: skip
    return evaluate_on(asking, experiment.benchmark)


def run(root: Path, names: Sequence[str]) -> None:
    """The start, each method's grid, then its seeds."""
    make(root, _start(), trains=False)
    for name in names:
        for rate in RATES:
            make(root, selection(name, rate))
        rate = best(root, name)
        assert rate is not None
        for seed in SEEDS:
            make(root, comparison(name, rate, seed))


def _start() -> Job:
    return Job("start", (*_COMMON, *MEMBERS["topk"]))


def page(root: Path) -> str:
    """The page as Markdown, from the runs that are there."""
    start = accuracy(root, _start())
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
    lines = [
        f"| method | rate | grid: {' / '.join(f'{rate:g}' for rate in RATES)} | seeds | pass@1, % | difference to "
        f"{REFERENCE}, points | p, Holm | tokens, first to last step | s a step, least |",
        "|---|--:|---|--:|---|---|--:|---|--:|",
    ]
    for name, values in found.items():
        rate, tried = best(root, name), grid(root, name)
        cells = " / ".join(f"{100 * tried[r]:.1f}" if r in tried else "not run" for r in RATES)
        told = t_interval([100 * v for v in values.values()]).text(1) if values else "not run"
        difference = tests[name].estimate.text(1) if name in tests else ""
        p = f"{adjusted[name]:.3f}" if name in tests else ""
        lines.append(
            f"| {name} | {f'{rate:g}' if rate else ''} | {cells} | {len(values)} | {told} | {difference} | {p} | "
            f"{_lengths(root, name)} | {_seconds(root, name)} |"
        )
    return lines


def _finals(root: Path, name: str) -> dict[int, float]:
    rate = best(root, name) or RATES[0]
    found = {seed: accuracy(root, comparison(name, rate, seed)) for seed in SEEDS}
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
