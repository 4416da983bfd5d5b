"""Log-probs of K support ids, under each rule for the probability mass outside the support (the tail)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Tail = Literal["renormalise", "drop", "bucket", "sampled", "sampled_detached"]
"""renormalise: probabilities in the support are rescaled to sum to 1. drop: true probabilities, the tail is ignored.
bucket: true probabilities plus one category for the tail. sampled: true probabilities, and the sampled token estimates
the tail when it lies there (unbiased). sampled_detached: the same without gradient through that token's divergence, as
in EMA-PG."""

# At a support mass of 1 - 1e-7, float32 can still tell the tail from 0.
_FULLEST_LOG_MASS = -1e-7


def renormalised(logits: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log p^: log-softmax over the last axis, within the support; 0 on filler ids.

    logits f[..., K]; support_mask bool[..., K], False on filler ids, or None if there are none.
    """
    if support_mask is None:
        return torch.log_softmax(logits, -1)
    lowest = torch.finfo(logits.dtype).min  # not -inf, so that a row of nothing but filler stays finite
    return torch.log_softmax(logits.masked_fill(~support_mask, lowest), -1).masked_fill(~support_mask, 0.0)


def normalised(logits: Tensor, logsumexp: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log p of K ids over the whole vocabulary, f[..., K]; 0 on filler ids. logsumexp f[...], of all logits."""
    log_prob = logits - logsumexp[..., None]
    return log_prob if support_mask is None else log_prob.masked_fill(~support_mask, 0.0)


def with_rest(log_prob: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """Append the log-prob of the tail as one more category: f[..., K] -> f[..., K + 1].

    log(1 - sum p) = log(-expm1(log sum p)); the tail is clamped to at least 1e-7, without gradient
    there. At a position of nothing but filler, the tail has all the mass.
    """
    inside = log_prob if support_mask is None else log_prob.masked_fill(~support_mask, torch.finfo(log_prob.dtype).min)
    log_mass = torch.logsumexp(inside, -1, keepdim=True).clamp(max=_FULLEST_LOG_MASS)
    return torch.cat([log_prob, torch.log(-torch.expm1(log_mass))], -1)
