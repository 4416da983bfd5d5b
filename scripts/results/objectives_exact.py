"""Exact bias and variance of the sampled-token objective and its relatives in enumerable worlds.

    python scripts/results/objectives_exact.py runs/objectives_exact     # minutes on a CPU; writes exact.json

A world is a student and a teacher over V tokens with a row of logits for the start and one for each last token. All
responses of T tokens are enumerated, so a gradient's mean and variance are exact sums. Then the student is trained on
sampled responses and evaluated by the KL over whole responses to the teacher, also computed exactly.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from opdkit.data.loss import Objective, StepBatch, TokenBatch
from opdkit.data.scores import Scores
from opdkit.functional.baselines import Baseline
from opdkit.functional.divergences import Alpha, DensityPower, TotalVariation
from opdkit.functional.surrogates import Ratio
from opdkit.heads import Head
from opdkit.models import Request
from opdkit.models.scorer import score_hidden
from opdkit.objectives import EntropyAware, TokenDivergence, TrustRegion
from opdkit.seeding import derive_seed
from opdkit.study.tabular.world import Responses, World, draw, responses, sequence_kl
from opdkit.training.requests import before_request, student_request, teacher_request

V, T, DISTANCE = 6, 4, 1.5
SEEDS = tuple(range(300, 305))
SELECTION = 400
RATES = (0.5, 2.0, 8.0)
"""Extended by factors of four while the best rate is at an end."""
STEPS, BATCH = 60, 16


def sampled(**choices: object) -> TokenDivergence:
    """objective=sampled without PPO's clipping, which has no effect when a batch is used once."""
    return TokenDivergence(support="sampled", estimator="score", surrogate=Ratio(), **choices)  # type: ignore[arg-type]


MEMBERS: Mapping[str, Objective] = {
    "full_reverse_kl": TokenDivergence(support="full"),
    "sampled": sampled(),
    "vopd": sampled(baseline=Baseline()),
    "least_variance": sampled(baseline=Baseline("least_variance")),
    "power_opd": sampled(divergence=DensityPower()),
    "power_opd_ratio": sampled(divergence=Alpha()),
    "tv_opd": sampled(divergence=TotalVariation()),
    "floor 0.1": sampled(floor=0.1),
    "trust_region": TrustRegion(k=3, surrogate=Ratio()),
    "topk, k = 3": TokenDivergence(k=3, tail="renormalise"),
    "eopd, k = 3": EntropyAware(k=3),
}


@dataclass(frozen=True)
class Table:
    """Both models' logits f64[1 + V, V]; the teacher's are its own or extrapolated."""

    student: Tensor
    teacher: Tensor


def position_gradients(objective: Objective, table: Table, some: Responses) -> Tensor:
    """d loss / d logits at each position, f64[N, T, V], of the loss summed over tokens, computed as in a run."""
    student = table.student[some.rows].clone().requires_grad_()
    teacher, mask, needs = table.teacher[some.rows], torch.ones_like(some.tokens, dtype=torch.bool), objective.needs
    with torch.no_grad():
        wanted = before_request(needs, needs.advantage)
        before = None if wanted is None else _scores(student.detach(), some.tokens, wanted)
        theirs = _scores(teacher, some.tokens, teacher_request(needs, before, 0))
    ours = _scores(student, some.tokens, student_request(needs, theirs, 0))
    log_p = table.student.log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1)[some.rows]
    step = StepBatch(mask)
    value = objective(ours, theirs, TokenBatch(step.loss_mask, tokens=some.tokens, entropy=entropy)).value
    return torch.autograd.grad(value.sum(), student)[0]


def _scores(logits: Tensor, tokens: Tensor, request: Request) -> Scores:
    place = torch.ones_like(tokens, dtype=torch.bool).nonzero(as_tuple=True)
    eye = torch.eye(logits.shape[-1], dtype=logits.dtype)
    return score_hidden(logits[place], Head(eye), tokens, (place[0], place[1]), request, 1.0)


def moments(objective: Objective, table: Table, every: Responses) -> tuple[Tensor, float]:
    """E g f64[1 + V, V] and tr Cov(g) of one response's gradient, exactly."""
    pieces = position_gradients(objective, table, every)
    log_pi = table.student.log_softmax(1)[every.rows].gather(2, every.tokens[..., None]).squeeze(2)
    probability = log_pi.sum(1).exp()
    mean = torch.zeros_like(table.student)
    mean.index_put_((every.rows,), probability[:, None, None] * pieces, accumulate=True)
    same_row = every.rows[:, :, None] == every.rows[:, None, :]
    square = ((pieces @ pieces.transpose(1, 2)) * same_row).sum((1, 2))
    return mean, float((probability * square).sum() - mean.square().sum())


def beyond(world: World, strength: float) -> Table:
    """teacher=extrapolated: the teacher's logits extrapolated away from the initial student's."""
    return Table(world.student, strength * world.teacher + (1.0 - strength) * world.student)


def measured(seed: int) -> dict[str, dict[str, float]]:
    """For each member in the world of `seed`: tr Cov / |E g|^2, angle and length of E g relative to the exact one."""
    every, table = responses(V, T, "shared"), Table(_world(seed).student, _world(seed).teacher)
    exact, _ = moments(MEMBERS["full_reverse_kl"], table, every)
    found = {name: moments(one, table, every) for name, one in MEMBERS.items()}
    found["extrapolated, 1.25"] = moments(MEMBERS["sampled"], beyond(_world(seed), 1.25), every)
    return {
        name: {
            "variance": variance,
            "noise_scale": variance / float(mean.square().sum()),
            "bias": float((mean - exact).norm() / exact.norm()),
            "cosine": float((mean * exact).sum() / (mean.norm() * exact.norm())),
        }
        for name, (mean, variance) in found.items()
    }


def trained(name: str, seed: int, rate: float) -> float:
    """The KL over whole responses to the teacher after STEPS steps of plain gradient descent; inf if it diverged."""
    world, source = _world(seed), torch.Generator().manual_seed(derive_seed(seed, "responses"))
    objective = MEMBERS.get(name, MEMBERS["sampled"])
    teacher = beyond(world, 1.25).teacher if name.startswith("extrapolated") else world.teacher
    student = world.student.clone()
    for _ in range(STEPS):
        some = _drawn(student, source)
        pieces = position_gradients(objective, Table(student, teacher), some)
        gradient = torch.zeros_like(student).index_put_((some.rows,), pieces, accumulate=True)
        student = student - rate * gradient / some.tokens.numel()
        if not student.isfinite().all():
            return float("inf")
    return float(sequence_kl(student, world.teacher, responses(V, T, "shared")))


def _drawn(student: Tensor, source: torch.Generator) -> Responses:
    row = torch.zeros(BATCH, dtype=torch.int64)
    rows: list[Tensor] = []
    tokens: list[Tensor] = []
    for _ in range(T):
        rows.append(row)
        tokens.append(torch.multinomial(student.softmax(1)[row], 1, generator=source)[:, 0])
        row = 1 + tokens[-1]
    return Responses(torch.stack(tokens, 1), torch.stack(rows, 1))


def _world(seed: int) -> World:
    return draw(seed, V, V + 1, "shared", DISTANCE)


def outcomes(name: str) -> dict[str, object]:
    """The grid on the selection world, the chosen rate, and the KL of each seed at that rate."""
    grid = {rate: trained(name, SELECTION, rate) for rate in RATES}
    rate = min(grid, key=lambda one: grid[one])
    while rate in (min(grid), max(grid)):
        further = rate / 4 if rate == min(grid) else rate * 4
        grid[further] = trained(name, SELECTION, further)
        rate = min(grid, key=lambda one: grid[one])
    kl = [trained(name, seed, rate) for seed in SEEDS]
    return {"grid": {f"{r:g}": one for r, one in sorted(grid.items())}, "rate": rate, "kl": kl}


def names() -> Sequence[str]:
    """All compared members."""
    return (*MEMBERS, "extrapolated, 1.25")


def main() -> None:
    """Measure what is missing and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root: Path = parser.parse_args().root
    root.mkdir(parents=True, exist_ok=True)
    file = root / "exact.json"
    known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"gradient": {}, "trained": {}}
    for seed in SEEDS:
        if str(seed) not in known["gradient"]:
            known["gradient"][str(seed)] = measured(seed)
    for name in names():
        if name not in known["trained"]:
            known["trained"][name] = outcomes(name)
        file.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(name, known["trained"][name]["rate"], flush=True)


if __name__ == "__main__":
    main()
