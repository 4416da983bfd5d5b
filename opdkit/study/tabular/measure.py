"""Measures one world as tensors that can be saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.study.tabular.moments import Bounds, Moments, by_enumeration, by_recursion, kl_gradient_by_recursion
from opdkit.study.tabular.world import (
    Responses,
    Sharing,
    World,
    draw,
    finite_difference,
    responses,
    rows_needed,
    sequence_kl,
)

PARTS: dict[str, Sharing] = {"enumerated, shared": "shared", "enumerated, per context": "per_context"}
LONG = "recursion, shared"
DIFFERENCED = 4
"""Longest horizon for finite differences."""


@dataclass(frozen=True)
class Grid:
    """What is computed: V, enumerated and long horizons, gammas, distance of the teacher."""

    vocabulary: int
    horizons: Sequence[int]
    long_horizons: Sequence[int]
    gammas: Sequence[float]
    teacher_distance: float


@dataclass(frozen=True)
class Measured:
    """One part of one world. variance, bias f64[T, gammas], bias = |E g - grad KL|; gradient f64[T] = |grad KL|."""

    variance: Tensor
    bias: Tensor
    gradient: Tensor
    bounds: Bounds


def measure(seed: int, grid: Grid) -> dict[str, Tensor]:
    """`<part>/variance`, `/bias`, `/gradient`, `/bounds` of a world, and the errors of its checks.

    `check/finite_difference`: the largest |E g_1 - central difference of the sequence KL| at T <= 4;
    `check/recursion`: the largest relative difference of a variance by enumeration and by recursion.
    """
    tensors: dict[str, Tensor] = {}
    errors = [0.0]
    variances: dict[tuple[int, float], float] = {}
    for part, sharing in PARTS.items():
        whole = _world(seed, grid, sharing)
        by_horizon: list[list[Moments]] = []
        gradients: list[Tensor] = []
        for horizon in grid.horizons:
            every = responses(grid.vocabulary, horizon, sharing)
            world = _cut(whole, horizon)
            by_horizon.append([by_enumeration(world, every, gamma) for gamma in grid.gammas])
            gradients.append(_kl_gradient(world, every))
            if horizon <= DIFFERENCED:
                exact = by_enumeration(world, every, 1.0).mean
                errors.append(float((exact - finite_difference(world, every)).abs().max()))
            if sharing == "shared":
                pairs = zip(grid.gammas, by_horizon[-1], strict=True)
                variances |= {(horizon, gamma): moments.variance for gamma, moments in pairs}
        tensors |= _packed(part, by_horizon, gradients, Bounds.of(whole))
    world = _world(seed, grid, "shared")
    wanted = sorted({*grid.long_horizons, *grid.horizons})
    recursions = [by_recursion(world, wanted, gamma) for gamma in grid.gammas]
    long = [[moments[horizon] for moments in recursions] for horizon in grid.long_horizons]
    gradient = kl_gradient_by_recursion(world, grid.long_horizons)
    tensors |= _packed(LONG, long, [gradient[horizon] for horizon in grid.long_horizons], Bounds.of(world))
    differences = [
        abs(moments[horizon].variance / variances[horizon, gamma] - 1.0)
        for gamma, moments in zip(grid.gammas, recursions, strict=True)
        for horizon in grid.horizons
    ]
    return tensors | {
        "check/finite_difference": torch.tensor(max(errors), dtype=torch.float64),
        "check/recursion": torch.tensor(max(differences), dtype=torch.float64),
    }


def unpack(piece: Mapping[str, Tensor], part: str) -> Measured:
    """A part of a saved world."""
    ratio, score = piece[f"{part}/bounds"].tolist()
    variance, bias, gradient = (piece[f"{part}/{name}"] for name in ("variance", "bias", "gradient"))
    return Measured(variance, bias, gradient, Bounds(ratio, score))


def _packed(
    part: str, moments: Sequence[Sequence[Moments]], gradients: Sequence[Tensor], bounds: Bounds
) -> dict[str, Tensor]:
    bias = [
        [torch.linalg.vector_norm(m.mean - gradient) for m in row]
        for row, gradient in zip(moments, gradients, strict=True)
    ]
    return {
        f"{part}/variance": torch.tensor([[m.variance for m in row] for row in moments], dtype=torch.float64),
        f"{part}/bias": torch.stack([torch.stack(row) for row in bias]),
        f"{part}/gradient": torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients]),
        f"{part}/bounds": torch.tensor([bounds.ratio, bounds.score], dtype=torch.float64),
    }


def _world(seed: int, grid: Grid, sharing: Sharing) -> World:
    rows = rows_needed(grid.vocabulary, max(grid.horizons), sharing)
    return draw(seed, grid.vocabulary, rows, sharing, grid.teacher_distance)


def _cut(world: World, horizon: int) -> World:
    """The same world truncated to `horizon` steps: a tree's first rows are its first levels."""
    rows = rows_needed(world.vocabulary, horizon, world.sharing)
    return World(world.student[:rows], world.teacher[:rows], world.sharing)


def _kl_gradient(world: World, every: Responses) -> Tensor:
    student = world.student.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(sequence_kl(student, world.teacher, every), student)
    return gradient
