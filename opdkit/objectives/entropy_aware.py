"""Entropy-aware distillation: the reverse KL everywhere, plus the forward KL where the teacher's entropy is high."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.loss import ModelNeeds, Needs, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.divergences import ForwardKL, ReverseKL
from opdkit.functional.masked import only
from opdkit.functional.tails import renormalised
from opdkit.objectives.local import exact_sum


@dataclass(frozen=True)
class EntropyAware:
    """KL(p || q) + weight g(H) KL(q || p), both over the teacher's top `k` ids, renormalised.

    H is the teacher's entropy over those ids in nats, at most log k. g is 1 where H > threshold and 0 elsewhere, or
    with `width` sigmoid((H - threshold) / width). An infinite threshold leaves the reverse KL (objective=topk).

    Source: Jin et al. 2026 (arXiv 2603.07079). Raises UserError on a value out of range.
    """

    k: int = 32
    threshold: float = 0.5
    width: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        _require(self.k >= 2, "k", self.k, "at least 2 (with one id the renormalised loss is always 0)")
        _require(self.threshold >= 0.0, "threshold", self.threshold, "at least 0, or .inf")
        _require(self.width is None or self.width > 0.0, "width", self.width, "above 0, or null for a step")
        _require(0.0 <= self.weight < float("inf"), "weight", self.weight, "at least 0, and finite")

    @property
    def needs(self) -> Needs:
        """Both models' logits at the teacher's top ids."""
        return Needs(ModelNeeds(), ModelNeeds(), support="teacher", k=self.k)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]; metrics: forward_share, g of each token."""
        share = self._share(teacher, batch.loss_mask)
        reverse = exact_sum(ReverseKL(), "renormalise", student, teacher, batch)
        forward = exact_sum(ForwardKL(), "renormalise", student, teacher, batch)
        value = reverse + self.weight * share * forward
        return TokenLoss(only(value, batch.loss_mask), {"forward_share": share})

    @torch.no_grad()
    def _share(self, teacher: Scores, mask: Tensor) -> Tensor:
        """g f32[B, T], zero where masked."""
        assert teacher.support_logits is not None
        log_q = renormalised(only(teacher.support_logits, mask), teacher.support_mask)
        held = log_q.exp() if teacher.support_mask is None else log_q.exp() * teacher.support_mask
        above = -(held * log_q).sum(-1) - self.threshold
        share = (above > 0).to(above.dtype) if self.width is None else (above / self.width).sigmoid()
        return only(share, mask)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"objective.{name}={value}: must be {allowed}")
