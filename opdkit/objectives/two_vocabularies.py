"""Baselines that compare full distributions over two vocabularies: ULD and GOLD.

Both compare the student's and the teacher's distributions at the positions paired by a teacher with another tokenizer
(`teacher.mode=position` or `merged`), or at every token if the vocabulary is shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from opdkit.data.loss import ModelNeeds, Needs, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.heads import dense_log_prob
from opdkit.tokenization import gold, uld

_NEEDS = Needs(ModelNeeds(sampled=True, vocabulary=True), ModelNeeds(own_vocabulary=True))
# Maximum number of probabilities of one model in memory at a time; each block is recomputed in the backward pass.
_ALIVE = 2**24

Compare = Callable[[Tensor, Tensor], Tensor]
"""log p f[n, V] and log q f[n, V'] of n tokens or spans -> f[n]."""


@dataclass(frozen=True)
class UniversalLogits:
    """sum_i |p_(i) - q_(i)| over each model's sorted probabilities, whatever tokens they belong to.

    Source: Boizard et al. 2024 (arXiv 2402.12030), which pairs token t with token t (`teacher.mode=position`).
    """

    @property
    def needs(self) -> Needs:
        """Both models' full vocabularies."""
        return _NEEDS

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T], at the first token of each span."""
        return TokenLoss(_compared(uld, student, teacher, batch.loss_mask))


@dataclass(frozen=True)
class GeneralLogits:
    """w JSD_beta(p, q) on ids in both vocabularies + w' sum_i |p_(i) - q_(i)| on the others.

    For a span of several tokens, p is the distribution at the first, times the probability of the later sampled ones,
    and q the same for the teacher's tokens (`teacher.mode=merged`). The loss is stored at the span's first token; the
    others hold 0 and stay in the denominator, while the published mean is over spans. With a shared vocabulary this is
    the JSD over all of it.

    Attributes:
        beta: mixing coefficient of the Jensen-Shannon divergence.
        matched_weight: w. If both weights are None, w is the paired ids' fraction of the teacher's vocabulary.
        ranked_weight: w', 1 - w if both are None.

    Source: TRL's `GOLDTrainer`, 2025, with its merging of "observed" tokens. Raises UserError on a value out of range.
    """

    beta: float = 0.5
    matched_weight: float | None = None
    ranked_weight: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.beta <= 1.0:
            raise UserError(f"objective.beta={self.beta}: must be between 0 and 1")
        given = [weight for weight in (self.matched_weight, self.ranked_weight) if weight is not None]
        if len(given) == 1:
            raise UserError("objective.matched_weight and objective.ranked_weight: give both, or leave both null")
        if any(not 0.0 <= weight < float("inf") for weight in given):
            raise UserError("objective.matched_weight and objective.ranked_weight: must be at least 0, and finite")

    @property
    def needs(self) -> Needs:
        """Both models' whole vocabularies."""
        return _NEEDS

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T], at the first token of each span."""
        weights = None
        if self.matched_weight is not None and self.ranked_weight is not None:
            weights = (self.matched_weight, self.ranked_weight)

        def compare(log_p: Tensor, log_q: Tensor) -> Tensor:
            return gold(log_p, log_q, teacher.paired_ids, self.beta, weights)

        return TokenLoss(_compared(compare, student, teacher, batch.loss_mask))


def _compared(compare: Compare, student: Scores, teacher: Scores, mask: Tensor) -> Tensor:
    """f32[B, T]: `compare` for each span, stored at its first token; computed a block of spans at a time."""
    first = mask if teacher.span_length is None else mask & (teacher.span_length > 0)
    ours, theirs = _side(student, first), _side(teacher, first)
    later = _later(student, first, mask), _later_of_teacher(teacher, first)

    def block(p: Tensor, q: Tensor, later_p: Tensor, later_q: Tensor) -> Tensor:
        return compare(ours.log_prob(p) + later_p[:, None], theirs.log_prob(q).detach() + later_q[:, None])

    size = max(1, _ALIVE // max(ours.vocabulary, theirs.vocabulary))
    pieces = zip(*(x.split(size) for x in (ours.hidden, theirs.hidden, *later)), strict=True)
    found = [checkpoint(block, *piece, use_reentrant=False) for piece in pieces]
    value = torch.cat(found) if found else later[0]
    return value.new_zeros(mask.shape).masked_scatter(first, value)


@dataclass(frozen=True)
class _Side:
    """One model's hidden states f[G, D] at the first tokens of the G spans, and its scores."""

    hidden: Tensor
    scores: Scores

    @property
    def vocabulary(self) -> int:
        assert self.scores.head is not None
        return self.scores.head.vocabulary

    def log_prob(self, hidden: Tensor) -> Tensor:
        """hidden f[n, D] -> log-probs f[n, V]."""
        assert self.scores.head is not None
        return dense_log_prob(hidden, self.scores.head, self.scores.temperature)


def _side(scores: Scores, first: Tensor) -> _Side:
    assert scores.hidden is not None
    return _Side(scores.hidden[first], scores)


def _later(student: Scores, first: Tensor, mask: Tensor) -> Tensor:
    """f[G]: per span, the sum of the student's log-probs of the sampled tokens after its first. The unmasked tokens
    must be whole spans, in order."""
    assert student.sampled_log_prob is not None
    sampled = student.sampled_log_prob
    own = sampled[first]
    owner = first[mask].cumsum(0) - 1
    return torch.zeros_like(own).index_add(0, owner, sampled[mask]) - own


def _later_of_teacher(teacher: Scores, first: Tensor) -> Tensor:
    """f[G]: `Scores.span_log_prob` at each span; 0 for a teacher without spans."""
    assert teacher.hidden is not None
    if teacher.span_log_prob is None:
        return torch.zeros(int(first.sum()), dtype=teacher.hidden.dtype, device=first.device)
    return teacher.span_log_prob[first]
