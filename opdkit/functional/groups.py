"""Computes advantages within groups: the rollouts of one prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor


def group_sums(group: Tensor) -> Callable[[Tensor], Tensor]:
    """A function of values f[B] that gives each row the sum over its group, f[B].

    group: i64[B], equal for rollouts of one prompt.
    """
    # torch tells no types here.
    found = torch.unique(group, return_inverse=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    groups, place = cast("tuple[Tensor, Tensor]", found)

    def summed(values: Tensor) -> Tensor:
        return torch.zeros(len(groups), dtype=values.dtype, device=values.device).index_add_(0, place, values)[place]

    return summed


def group_advantage(reward: Tensor, group: Tensor, known: Tensor | None = None, *, scale: bool) -> Tensor:
    """R - mean R over the group, with `scale` over its (population) deviation + 1e-6; f64[B].

    A group of equal rewards gets zeros, and so does one with a reward that is not known.

    Args:
        reward: f[B].
        group: i64[B], equal for rollouts of one prompt.
        known: bool[B], None where all are.
        scale: whether the deviation divides.
    """
    reward, summed = reward.double(), group_sums(group)
    count = summed(torch.ones_like(reward))
    centred = reward - summed(reward) / count
    if scale:
        variance = summed(centred.square()) / count
        centred = centred / (variance.sqrt() + 1e-6)
    if known is None:
        return centred
    return torch.where(summed((~known).double()) > 0, 0.0, centred)
