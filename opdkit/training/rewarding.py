"""Rewards of a step's rollouts: rank 0 grades whole groups, and each row gets its rollout's grade."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.rewards import OpenReward
from opdkit.training.sources import RolloutBatch, mean
from opdkit.world.world import World


def rewarded(batch: RolloutBatch, reward: OpenReward, step: int) -> tuple[RolloutBatch, tuple[Grade, ...]]:
    """The batch with the reward's metrics, and one grade per row."""
    groups, numbers = World.current().from_main(lambda: (reward.grade(batch.groups, step), dict(reward.metrics())))
    graded = _grades(groups, batch, reward)
    metrics = dict(batch.metrics) | {"rollout/reward_mean": mean([grade.reward for grade in graded])}
    if batch.row_grades is None:
        metrics["rollout/ungraded_fraction"] = mean([grade.status in ("timeout", "crashed") for grade in graded])
    metrics |= {f"reward/{name}": value for name, value in numbers.items()}
    rows = [grade for grade, size in zip(graded, batch.sizes, strict=True) for _ in range(size)]
    if batch.row_grades is not None:
        pairs = zip(rows, batch.row_grades, strict=True)
        rows = [replace(grade, extracted=own.extracted, status=own.status) for grade, own in pairs]
    return replace(batch, metrics=metrics), tuple(rows)


def _grades(groups: Sequence[Sequence[Grade]], batch: RolloutBatch, reward: OpenReward) -> list[Grade]:
    """One grade per rollout. Raises UserError if a reward, possibly the user's own, returns anything else."""
    graded = [grade for group in groups for grade in group]
    wrong = next((grade for grade in graded if not isinstance(grade, Grade)), None)
    if wrong is not None:
        raise UserError(
            f"reward: {type(reward).__name__}.grade gives a {type(wrong).__name__} where a Grade belongs "
            "(opdkit.data.grade.Grade(reward=...))"
        )
    sizes, wanted = [len(group) for group in groups], [len(group.responses) for group in batch.groups]
    if sizes != wanted:
        raise UserError(f"reward: {type(reward).__name__}.grade gives {sizes} grades for groups of {wanted} responses")
    return graded


def reward_of(grades: Sequence[Grade], like: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards f32[B], 0 where unknown, and whether each is known, bool[B]."""
    known = torch.tensor([grade.counts for grade in grades], device=like.device)
    reward = torch.tensor([grade.reward if grade.counts else 0.0 for grade in grades], device=like.device)
    return reward, known
