"""Divergences between two distributions over the same K ids, given as logits."""

from __future__ import annotations

import torch
from torch import Tensor


def restricted_log_softmax(logits: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """log pi^: log-softmax over the last axis, inside the support alone; 0 on fillers.

    logits f[..., K]; support_mask bool[..., K], False on fillers, or None where all K ids count.
    """
    if support_mask is None:
        return torch.log_softmax(logits, -1)
    lowest = torch.finfo(logits.dtype).min  # not -inf: a row of fillers alone must stay finite
    return torch.log_softmax(logits.masked_fill(~support_mask, lowest), -1).masked_fill(~support_mask, 0.0)


def reverse_kl(student_logits: Tensor, teacher_logits: Tensor, support_mask: Tensor | None = None) -> Tensor:
    """KL(pi^ || q^) = sum_S pi^ log(pi^ / q^), both distributions renormalised inside the support S.

    student_logits, teacher_logits f[..., K] of the same ids; support_mask bool[..., K] or None. Returns
    f[...] in nats, at least 0 up to rounding; 0 where the logits differ by a constant, and always at K = 1.
    Its gradient for the student's logit v in S is pi^_v (log(pi^_v / q^_v) - value).
    """
    log_pi = restricted_log_softmax(student_logits, support_mask)
    log_q = restricted_log_softmax(teacher_logits, support_mask)
    terms = log_pi.exp() * (log_pi - log_q)  # a filler gives 1 * (0 - 0)
    return terms.sum(-1)
