"""Runs the relatives of the sampled-token objective on the embedded pair; objectives_page.py tells what came out.

    python scripts/results/relatives.py gradients runs/relatives    # bias and variance of each, at the student's start
    python scripts/results/relatives.py train runs/relatives        # a rate for each, then five seeds; hours of a CPU

Both go on where they stopped. The rate of each is the best of a small grid on a seed, training problems and held-out
problems of its own. A run here is `opdkit train` without its evaluations of the start and of the teacher.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from learning_rates import Job, accuracy
from torch import Tensor

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.diagnostics.projection import Projection, names_of
from opdkit.diagnostics.total_variance import bias, split
from opdkit.evaluation import Asking, evaluate_on
from opdkit.training.collect import StepData
from opdkit.training.experiment import Experiment
from opdkit.training.loop import Loop
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.signals import StopRequest
from opdkit.training.term import Method, Term

EXACT = "full_reverse_kl"
"""What the sampled-token objectives estimate at each prefix."""

MEMBERS: dict[str, tuple[str, ...]] = {
    "sampled": ("objective=sampled",),
    "vopd": ("objective=vopd",),
    "least_variance": ("objective=vopd", "objective/baseline=least_variance"),
    "mopd": ("objective=mopd", "batch.prompts=4", "batch.rollouts_per_prompt=4"),
    "power_opd": ("objective=power_opd",),
    "power_opd_ratio": ("objective=power_opd_ratio",),
    "tv_opd": ("objective=tv_opd",),
    "reopold": ("objective=reopold",),
    "eopd": ("objective=eopd",),
    "trust_region": ("objective=trust_region",),
    "extrapolated": ("objective=sampled", "teacher=extrapolated"),
    EXACT: (f"objective={EXACT}",),
}
"""What is compared: a name, and the overrides that make it."""

TRAINED = tuple(name for name in MEMBERS if name not in ("power_opd_ratio", "tv_opd", "reopold"))
RATES = (3.75e-5, 1.5e-4, 6e-4)
SEEDS = (300, 301, 302, 303, 304)
_SELECTION = ("seed=400", "task.seed=1", "benchmark.source.seed=1")
_SHORT = (
    "steps=15", "batch.prompts=16", "batch.mini_batch=8", "batch.micro_batch=8", "batch.epochs=1",
    "task.parameters.max_terms=4", "benchmark.source.parameters.max_terms=4", "benchmark.limit=128",
    "optim.warmup_steps=2", "logger=jsonl", "diagnostics=none", "vocabulary_metrics_every=0", "gradient_variance=null",
)  # fmt: skip
_PROBED = ("batch.prompts=24", "batch.rollouts_per_prompt=2", "batch.mini_batch=48", "sampler=ancestral")


def selection(name: str, rate: float) -> Job:
    """A run that the choice of a learning rate looks at."""
    return Job(f"grid/{name}/lr{rate:g}", (*_SHORT, *MEMBERS[name], f"optim.lr={rate}", *_SELECTION))


def comparison(name: str, rate: float, seed: int) -> Job:
    """A run that is compared."""
    return Job(f"final/{name}/seed{seed}", (*_SHORT, *MEMBERS[name], f"optim.lr={rate}", f"seed={seed}"))


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
    choices = {group: text.split("=")[1] for group, text in last.items() if group in ("objective", "teacher")}
    chosen = {"objective": "topk", "method": "opd", "model": "embedded", "teacher": "embedded"} | choices
    return build_experiment(compose(source, list(last.values())), Origin(list(last.values()), chosen, source.folders))


class _Silent:
    """An observer that keeps nothing."""

    def evaluate(self, step: int) -> dict[str, float]:
        return {}

    def log(self, step: int, metrics: Mapping[str, float], data: Sequence[StepData]) -> None:
        pass

    def saved(self, step: int, folder: Path) -> None:
        pass

    def card(self, step: int) -> str:
        return ""


def train(root: Path, jobs: Sequence[Job]) -> None:
    """Each job that has no summary yet, one after another."""
    for job in jobs:
        folder = root / job.name
        if (folder / "summary.json").is_file():
            continue
        shutil.rmtree(folder, ignore_errors=True)
        experiment = built(job.overrides)
        session = open_session(experiment, None)
        Loop(experiment.looping(), session, folder / "checkpoints", _Silent(), StopRequest()).run()
        after = _evaluated(session, experiment, folder)
        shutil.rmtree(folder / "checkpoints")
        (folder / "summary.json").write_text(json.dumps({"after": after}, indent=1) + "\n", encoding="utf-8")
        session.close()
        close_session()
        print(f"{job.name}: {after['pass@1']:.3f}", flush=True)


def start(root: Path) -> None:
    """The student before any training, on the compared runs' problems, as the run `start`."""
    folder = root / "start"
    if (folder / "summary.json").is_file():
        return
    experiment = built((*_SHORT, *MEMBERS[EXACT]))
    session = open_session(experiment, None)
    after = _evaluated(session, experiment, folder)
    (folder / "summary.json").write_text(json.dumps({"after": after}, indent=1) + "\n", encoding="utf-8")
    session.close()
    close_session()


def _evaluated(session: Session, experiment: Experiment, folder: Path) -> dict[str, float]:
    student, task = session.policy.model, session.tasks[""].settings
    asking = Asking(
        engine=task.rollout.open(student), renderer=student, seed=experiment.seed, folder=folder / "evals",
        max_prompt_tokens=task.rollout.max_prompt_tokens, progress=lambda text: None,
    )  # fmt: skip
    return evaluate_on(asking, experiment.benchmark)


def gradients(root: Path) -> None:
    """For each seed: every member's gradient on the same rollouts, a row at a time, into gradients/seed<n>.json."""
    for seed in SEEDS:
        file = root / "gradients" / f"seed{seed}.json"
        if file.is_file():
            continue
        found = _measured(seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{file}", flush=True)


def _measured(seed: int) -> dict[str, dict[str, float]]:
    common = (*_SHORT, *_PROBED, f"seed={seed}")
    members = {name: built([*common, *overrides, *_PROBED]) for name, overrides in MEMBERS.items()}
    terms = {name: Term(objective=one.objective, teacher=one.teacher) for name, one in members.items()}
    experiment = replace(members[EXACT], method=Method(terms))
    session = open_session(experiment, None)
    data = session.collect(0)
    shape = (experiment.batch.prompts, experiment.batch.rollouts_per_prompt)
    rows = {part.batch.term.name: _rows(session, part, seed).unflatten(0, shape) for part in data}
    session.close()
    close_session()
    return {name: _told(found, rows[EXACT]) for name, found in rows.items()}


def _rows(session: Session, part: StepData, seed: int) -> Tensor:
    """f64[B, layers, size], each row's projected gradient, scaled so that their mean is the batch's."""
    module = session.policy.model.module
    projection = Projection(names_of(module, module.parameters()), 1024, seed)
    batch, count = part.batch, len(part.batch.loss_mask)
    denominator = batch.term.aggregation.denominator(batch.loss_mask) / count
    found: list[Tensor] = []
    with projection:
        for row in range(count):
            session.updater.weighted_loss(batch.rows(row, row + 1), denominator)[1].value.sum().backward()
            found.append(projection.taken())
    session.policy.optimizer.zero_grad(set_to_none=True)
    return torch.stack(found)


def _told(rows: Tensor, exact: Tensor) -> dict[str, float]:
    """Of gradients f64[P, R, ...]: the split of their noise, and how they stand to the exact ones of the same rows.

    cosine: between the mean gradients. excess: mean |c g - g_exact|^2 over a row's |g_exact|^2, with the c that makes
    both means equally long: what sampling a token in the place of the vocabulary adds.
    """
    noise, apart = split(rows), bias(rows, exact)
    ours, theirs = rows.flatten(2).mean((0, 1)), exact.flatten(2).mean((0, 1))
    scaled = rows * (theirs.norm() / ours.norm())
    excess = (scaled - exact).flatten(2).square().sum(-1).mean() / exact.flatten(2).square().sum(-1).mean()
    return {
        "signal": noise.signal,
        "prompt_variance": noise.prompt,
        "sampling_variance": noise.sampling,
        "noise_scale": noise.noise_scale(),
        "bias_relative": apart.relative,
        "cosine": float(torch.nn.functional.cosine_similarity(ours, theirs, dim=0)),
        "excess": float(excess),
    }


def main() -> None:
    """Measure, or train: every grid, then a seed of all before the next seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("gradients", "train"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="*", default=list(TRAINED), help="train these members alone")
    options = parser.parse_args()
    if options.action == "gradients":
        gradients(options.root)
        return
    names: list[str] = options.only
    start(options.root)
    train(options.root, [selection(name, rate) for name in names for rate in RATES])
    rates = {name: best(options.root, name) for name in names}
    pairs = itertools.product(SEEDS, rates.items())
    train(options.root, [comparison(name, rate, seed) for seed, (name, rate) in pairs if rate is not None])


if __name__ == "__main__":
    main()
