"""The local term of an objective: a divergence at each prefix, summed over a support."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.data.loss import TokenBatch
from opdkit.data.scores import Scores
from opdkit.functional.divergences import Divergence, at_sample
from opdkit.functional.estimators import importance_ratio
from opdkit.functional.masked import only
from opdkit.functional.tails import Tail, normalised, renormalised, with_rest
from opdkit.heads import vocabulary_divergence


def exact_sum(divergence: Divergence, tail: Tail, student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor:
    """sum_S terms(p, q), f32[B, T], differentiable; a sampled tail adds its estimate of the sum outside S."""
    log_p, log_q = _log_probs(tail, student, teacher, batch.loss_mask)
    value = divergence.terms(log_p, log_q).sum(-1)
    return value + _tail(divergence, tail, student, teacher, batch) if tail.startswith("sampled") else value


def detached_head(divergence: Divergence, tail: Tail, student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor:
    """sum_S p sg(cost), f32[B, T]: its gradient, sum_S p cost s, is the full-vocabulary gradient restricted to S.

    The exact sum without renormalising has the extra gradient sum_S p s, that of the student's mass on S, which pushes
    mass out of S. The "Many Faces" form (arXiv 2605.11182).
    """
    log_p, log_q = _log_probs(tail, student, teacher, batch.loss_mask)
    value = (log_p.exp() * divergence.cost(log_p, log_q).detach()).sum(-1)
    return value + _tail(divergence, tail, student, teacher, batch) if tail.startswith("sampled") else value


def over_vocabulary(divergence: Divergence, student: Scores, teacher: Scores, mask: Tensor) -> Tensor:
    """sum_V terms(p, q), f32[B, T], zero outside the mask; streamed, so that no [positions, V] tensor is built."""
    assert student.hidden is not None
    assert student.head is not None
    assert teacher.hidden is not None
    assert teacher.head is not None
    value = vocabulary_divergence(
        student.hidden[mask], student.head, teacher.hidden[mask], teacher.head, divergence, student.temperature
    )
    return value.new_zeros(mask.shape).masked_scatter(mask, value)


def _log_probs(tail: Tail, student: Scores, teacher: Scores, mask: Tensor) -> tuple[Tensor, Tensor]:
    """log p and log q of the same categories, f32[B, T, K] (K + 1 with a bucket), finite even where masked."""
    ours, theirs = (_one(tail, scores, teacher.support_mask, mask) for scores in (student, teacher))
    return ours, theirs.detach()


def _one(tail: Tail, scores: Scores, support_mask: Tensor | None, mask: Tensor) -> Tensor:
    assert scores.support_logits is not None
    logits = only(scores.support_logits, mask)
    if tail == "renormalise":
        return renormalised(logits, support_mask)
    assert scores.logsumexp is not None
    log_prob = normalised(logits, only(scores.logsumexp, mask), support_mask)
    return with_rest(log_prob, support_mask) if tail == "bucket" else log_prob


def _tail(divergence: Divergence, tail: Tail, student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor:
    """The sampled token's divergence where it lies outside S, f32[B, T]: p / p_old h, an estimate of sum_{not S} terms.

    h = terms / p. Detached (EMA-PG), h is a constant; for the reverse KL beside an exact head, the mean gradient is
    then grad D + grad m_S, m_S the student's mass on S, instead of grad D.
    """
    assert student.sampled_log_prob is not None
    assert teacher.sampled_log_prob is not None
    log_p = only(student.sampled_log_prob, batch.loss_mask)
    log_q = only(teacher.sampled_log_prob, batch.loss_mask).detach()
    old = log_p if batch.old_log_prob is None else only(batch.old_log_prob, batch.loss_mask)
    seen = at_sample(divergence, log_p, log_q)
    value = importance_ratio(log_p, old) * (seen.detach() if tail == "sampled_detached" else seen)
    return torch.where(_outside(teacher, batch), value, 0.0)


def _outside(teacher: Scores, batch: TokenBatch) -> Tensor:
    """bool[B, T]: unmasked tokens whose id is not in the support."""
    assert teacher.support_ids is not None
    assert batch.tokens is not None
    inside = teacher.support_ids == batch.tokens.unsqueeze(-1)
    if teacher.support_mask is not None:
        inside = inside & teacher.support_mask
    return batch.loss_mask & ~inside.any(-1)
