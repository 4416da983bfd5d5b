"""Computes log-probs of K named ids under each rule for the probability outside the support."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Tail = Literal["renormalise", "drop", "bucket", "sampled", "sampled_detached"]
"""renormalise: probabilities inside the support sum to 1. drop: true probabilities, the rest is forgotten.
bucket: true probabilities and one more category for the rest. sampled: true probabilities, and the sampled token
stands for the rest where it lies outside (unbiased). sampled_detached: the same with the token's divergence taken as
a constant, as EMA-PG has it."""

# A mass of 1 - 1e-7 leaves a rest that float32 can still tell from 0.
_FULLEST_LOG_MASS = -1e-7


def renormalised(logits: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log p^: log-softmax over the last axis, inside the support alone; 0 on fillers.

    logits f[..., K]; support_mask bool[..., K], False on fillers, or None where all K ids count.
    """
    if support_mask is None:
        return torch.log_softmax(logits, -1)
    lowest = torch.finfo(logits.dtype).min  # not -inf: a row of fillers alone must stay finite
    return torch.log_softmax(logits.masked_fill(~support_mask, lowest), -1).masked_fill(~support_mask, 0.0)


def normalised(logits: Tensor, logsumexp: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log p of K ids over the whole vocabulary, f[..., K]; 0 on fillers. logsumexp f[...], of all logits."""
    log_prob = logits - logsumexp[..., None]
    return log_prob if support_mask is None else log_prob.masked_fill(~support_mask, 0.0)


def with_rest(log_prob: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log p of K ids and of everything else as one category: f[..., K] -> f[..., K + 1].

    log(1 - sum p) = log(-expm1(log sum p)); a support that holds all but 1e-7 of the mass keeps that much outside,
    without gradient there. A position of fillers alone has all its mass outside.
    """
    inside = log_prob if support_mask is None else log_prob.masked_fill(~support_mask, torch.finfo(log_prob.dtype).min)
    log_mass = torch.logsumexp(inside, -1, keepdim=True).clamp(max=_FULLEST_LOG_MASS)
    return torch.cat([log_prob, torch.log(-torch.expm1(log_mass))], -1)
