"""Inverse-CDF sampling of one token from the allowed ids."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.errors import RunError


@torch.no_grad()
def draw(logits: Tensor, allowed: Tensor | None, uniform: Tensor) -> Tensor:
    """Sample ids i64[B] from the softmax of `logits` f[B, V] over the ids in `allowed` bool[B, V] (None: all ids).

    uniform f[B] in [0, 1]: a given value always gives the same id, whatever else is in the batch. Sums are in
    float64. An id outside `allowed`, or with a logit of -inf, is never returned, even at uniform = 1. Raises
    RunError if a row's logits are not finite or no id is allowed in it.
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
    # At uniform = 1 the target is the total, which is first reached at the last id with any mass.
    chosen = torch.minimum(chosen, torch.searchsorted(cumulative, total))
    if in_order:
        return chosen[:, 0]  # a sequential sum grows only at ids with mass
    # A parallel scan may round the sum up at an id without mass; fall back to the argmax in that case.
    return torch.where(weight.gather(1, chosen) > 0, chosen, logits.argmax(dim=-1, keepdim=True))[:, 0]
