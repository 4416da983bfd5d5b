"""Draws one token from the allowed ids by inverting their distribution function."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.errors import RunError


@torch.no_grad()
def draw(logits: Tensor, allowed: Tensor, uniform: Tensor) -> Tensor:
    """i64[B], drawn from the softmax of `logits` f[B, V] over the ids in `allowed` bool[B, V].

    uniform f[B] in [0, 1]: the same value gives the same id, whatever else is in the batch. Sums are in
    float64. An id outside `allowed` is never returned, also at uniform = 1. Raises RunError where a row's
    logits are not finite, or nothing is allowed in it.
    """
    peak, likeliest = logits.masked_fill(~allowed, -torch.inf).max(dim=-1, keepdim=True)
    weight = torch.where(allowed, (logits - peak).double().exp(), 0.0)
    cumulative = weight.cumsum(dim=-1)
    total = cumulative[:, -1:].contiguous()
    if not bool((torch.isfinite(total) & (total > 0)).all()):
        raise RunError("the logits of the model that generates are not finite: its weights are damaged")
    target = uniform[:, None].double() * total
    chosen = torch.searchsorted(cumulative, target, right=True)
    # At uniform = 1 the target is the total: its first occurrence belongs to the last id with any mass.
    chosen = torch.minimum(chosen, torch.searchsorted(cumulative, total))
    # A parallel scan may round a sum up between two ids of no mass; then, and only then, this matters.
    return torch.where(allowed.gather(1, chosen), chosen, likeliest)[:, 0]
