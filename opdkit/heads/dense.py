"""Dense log-probs at a few positions, with gradient, for losses that need the whole distribution at once."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.heads.head import Head, accumulate_type, exact_products


def dense_log_prob(hidden: Tensor, head: Head, temperature: float) -> Tensor:
    """log p f[N, V] of hidden [N, D], differentiable in hidden, head.weight and head.bias. N must be small."""
    dtype = accumulate_type(hidden, head.weight)
    bias = None if head.bias is None else head.bias[: head.vocabulary].to(dtype)
    with exact_products(hidden):
        product = torch.nn.functional.linear(hidden.to(dtype), head.weight[: head.vocabulary].to(dtype), bias)
    logits = product * head.scale
    if head.softcap is not None:
        logits = head.softcap * (logits / head.softcap).tanh()
    return (logits / temperature).log_softmax(-1)
