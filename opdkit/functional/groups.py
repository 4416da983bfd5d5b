"""Group-relative advantages, where a group is the rollouts of one prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor


def group_sums(group: Tensor) -> Callable[[Tensor], Tensor]:
    """Returns a function that maps values f[B] to each row's sum over its group, f[B].

    group: i64[B], equal for rollouts of one prompt.
    """
    # torch.unique is untyped.
    found = torch.unique(group, return_inverse=True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    groups, place = cast("tuple[Tensor, Tensor]", found)

    def summed(values: Tensor) -> Tensor:
        return torch.zeros(len(groups), dtype=values.dtype, device=values.device).index_add_(0, place, values)[place]

    return summed


def group_advantage(reward: Tensor, group: Tensor, known: Tensor | None = None, *, scale: bool) -> Tensor:
    """R - mean R over the group, with `scale` divided by the (population) std + 1e-6; f64[B].

    A group whose rewards are all equal, or any of them unknown, gets zeros.

    Args:
        reward: f[B].
        group: i64[B], equal for rollouts of one prompt.
        known: bool[B], which rewards are known; None if all are.
        scale: whether to divide by the standard deviation.
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
