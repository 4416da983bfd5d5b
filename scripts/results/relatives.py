"""Runs the relatives of the sampled-token objective on the embedded pair; objectives_page.py writes the results.

    python scripts/results/relatives.py gradients runs/relatives    # bias and variance of each, at the initial student
    python scripts/results/relatives.py train runs/relatives        # a rate for each, then five seeds; hours on a CPU

Both resume where they stopped. The rate of each is the best of a small grid on a separate seed, training problems and
held-out problems. A run here is `opdkit train` without evaluating the initial student and the teacher.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from short_runs import SEEDS, SHORT, Candidates, built, make
from torch import Tensor

from opdkit.diagnostics.projection import Projection, names_of
from opdkit.diagnostics.total_variance import bias, split
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.step_data import StepData
from opdkit.training.term import Method, Term

EXACT = "full_reverse_kl"
"""The quantity that the sampled-token objectives estimate at each prefix."""

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
"""The compared members: name -> overrides."""

SCHEDULED: dict[str, tuple[str, ...]] = {
    "guided": ("method=guided",),
    "fast_opd": ("method=fast_opd", "objective=sampled"),
}
"""Also trained: they change who generates what, not a rollout's gradient."""

TRAINED = (*(name for name in MEMBERS if name not in ("power_opd_ratio", "tv_opd", "reopold")), *SCHEDULED)
COMPARED = Candidates({**MEMBERS, **SCHEDULED}, ("steps=15", *SHORT), (3.75e-5, 1.5e-4, 6e-4))
_PROBED = ("batch.prompts=24", "batch.rollouts_per_prompt=2", "batch.mini_batch=48", "sampler=ancestral")


def gradients(root: Path, seeds: Sequence[int]) -> None:
    """For each seed: every member's gradient on the same rollouts, row by row, into gradients/seed<n>.json."""
    for seed in seeds:
        file = root / "gradients" / f"seed{seed}.json"
        if file.is_file():
            continue
        found = _measured(seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{file}", flush=True)


def _measured(seed: int) -> dict[str, dict[str, float]]:
    common = (*COMPARED.common, *_PROBED, f"seed={seed}")
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
    """Statistics of gradients f64[P, R, ...]: the split of their noise, and their relation to the exact ones.

    cosine: between the mean gradients. excess: mean |c g - g_exact|^2 over a row's |g_exact|^2, with the c that makes
    both means equally long: the error added by sampling a token instead of using the vocabulary.
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
    """Measure, or train: every grid, then all members seed by seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("gradients", "train"))
    parser.add_argument("root", type=Path)
    parser.add_argument("--only", nargs="*", default=list(TRAINED), help="train only these members")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="number of seeds, starting with the first")
    options = parser.parse_args()
    if options.action == "gradients":
        gradients(options.root, SEEDS[: options.seeds])
        return
    root: Path = options.root
    names: list[str] = options.only
    make(root, COMPARED.start(EXACT), trains=False)
    for name, rate in itertools.product(names, COMPARED.rates):
        make(root, COMPARED.selection(name, rate))
    rates = {name: COMPARED.best(root, name) for name in names}
    for seed, (name, rate) in itertools.product(SEEDS[: options.seeds], rates.items()):
        if rate is not None:
            make(root, COMPARED.comparison(name, rate, seed))


if __name__ == "__main__":
    main()
