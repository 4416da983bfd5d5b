"""Draws one token from the allowed ids by inverting their distribution function."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.errors import RunError


@torch.no_grad()
def draw(logits: Tensor, allowed: Tensor | None, uniform: Tensor) -> Tensor:
    """i64[B], drawn from the softmax of `logits` f[B, V] over the ids in `allowed` bool[B, V], None for all of them.

    uniform f[B] in [0, 1]: the same value gives the same id, whatever else is in the batch. Sums are in
    float64. An id outside `allowed`, or one with a logit of -inf, is never returned, also at uniform = 1. Raises
    RunError where a row's logits are not finite, or nothing is allowed in it.
    """
    if allowed is not None:
        logits = logits.masked_fill(~allowed, -torch.inf)
    weight = (logits - logits.amax(dim=-1, keepdim=True)).double().exp_()
    in_order = weight.device.type == "cpu"
    cumulative = weight.cumsum_(dim=-1) if in_order else weight.cumsum(dim=-1)
    total = cumulative[:, -1:].contiguous()
    if not bool((torch.isfinite(total) & (total > 0)).all()):
        raise RunError("the logits of the model that generates are not finite: its weights are damaged")
    target = uniform[:, None].double() * total
    chosen = torch.searchsorted(cumulative, target, right=True)
    # At uniform = 1 the target is the total: its first occurrence belongs to the last id with any mass.
    chosen = torch.minimum(chosen, torch.searchsorted(cumulative, total))
    if in_order:
        return chosen[:, 0]  # a sum that is taken in order grows at ids with mass alone
    # A parallel scan may round a sum up between two ids of no mass; then, and only then, this matters.
    return torch.where(weight.gather(1, chosen) > 0, chosen, logits.argmax(dim=-1, keepdim=True))[:, 0]
