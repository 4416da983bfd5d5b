"""Sums over a support at each prefix, without gradient, for baselines."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.scores import Scores
from opdkit.functional.baselines import Term
from opdkit.functional.masked import only
from opdkit.functional.tails import normalised
from opdkit.objectives.local import over_vocabulary


@dataclass(frozen=True)
class SupportSums:
    """sum_S term(log p, log q) with true (not renormalised) log-probs, over the support or the whole vocabulary.

    Attributes:
        student: scores with support logits and logsumexp, or with hidden states and head.
        teacher: the same for the teacher.
        mask: bool[B, T], the tokens in the loss.
    """

    student: Scores
    teacher: Scores
    mask: Tensor

    @torch.no_grad()
    def __call__(self, term: Term) -> Tensor:
        """f[B, T], zero outside the mask."""
        if self.student.support_logits is None:
            return over_vocabulary(_Summand(term), self.student, self.teacher, self.mask)
        log_p, log_q = (self._log_prob(scores) for scores in (self.student, self.teacher))
        values = term(log_p, log_q)
        if self.teacher.support_mask is not None:
            values = torch.where(self.teacher.support_mask, values, 0.0)
        return only(values.sum(-1), self.mask)

    def _log_prob(self, scores: Scores) -> Tensor:
        assert scores.support_logits is not None
        assert scores.logsumexp is not None
        return normalised(only(scores.support_logits, self.mask), only(scores.logsumexp, self.mask))


@dataclass(frozen=True)
class _Summand:
    """Adapts a term to the divergence interface, for a pass over the vocabulary that is never differentiated."""

    term: Term

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return self.term(log_p, log_q)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return torch.zeros_like(log_p)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return torch.zeros_like(log_p)
