"""Trust-region distillation: the policy gradient where the teacher is close, the forward KL where it is far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from opdkit.data.loss import ModelNeeds, Needs, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.divergences import ForwardKL
from opdkit.functional.masked import only
from opdkit.functional.surrogates import Clipped, Surrogate
from opdkit.objectives.local import exact_sum

Outliers = Literal["forward_kl", "mask"]


@dataclass(frozen=True)
class TrustRegion:
    """surrogate(log q - log p) at tokens with min(q / p, 1) >= bound, and a different loss at the others (outliers).

    q / p is the sampled token's ratio under the student that sampled it. outliers: forward_kl, sum_S q log(q / p) over
    the teacher's top `k` ids with true probabilities, which pulls mass into S; mask: zero loss, though the token stays
    in the denominator. bound 0 trusts every token (objective=sampled).

    Source: Xing et al. 2026 (arXiv 2606.01249). Raises UserError on a value out of range.
    """

    bound: float = 0.1
    k: int = 32
    outliers: Outliers = "forward_kl"
    surrogate: Surrogate = field(default_factory=lambda: Clipped(dual_clip=3.0))

    def __post_init__(self) -> None:
        if not 0.0 <= self.bound <= 1.0:
            raise UserError(f"objective.bound={self.bound}: must be between 0 and 1")
        if self.k < 1:
            raise UserError(f"objective.k={self.k}: must be at least 1")
        if self.outliers not in ("forward_kl", "mask"):
            raise UserError(f"objective.outliers={self.outliers}: must be one of forward_kl, mask")

    @property
    def needs(self) -> Needs:
        """The sampled tokens' log-probs, and for the forward KL those of the teacher's top ids."""
        covers = self.outliers == "forward_kl"
        model = ModelNeeds(sampled=True, logsumexp=covers)
        support = "teacher" if covers else None
        single = self.surrogate.single_update
        return Needs(model, model, support, self.k if covers else 0, old_log_prob=True, single_update=single)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]; metrics: advantage of the trusted tokens, trusted."""
        assert student.sampled_log_prob is not None
        assert teacher.sampled_log_prob is not None
        log_p = only(student.sampled_log_prob, batch.loss_mask)
        old = log_p.detach() if batch.old_log_prob is None else only(batch.old_log_prob, batch.loss_mask)
        advantage = only(teacher.sampled_log_prob, batch.loss_mask).detach() - old
        trusted = advantage.clamp(max=0.0).exp() >= self.bound
        value = torch.where(trusted, self.surrogate(log_p, old, advantage), self._outlying(student, teacher, batch))
        metrics = {
            "advantage": only(torch.where(trusted, advantage, 0.0), batch.loss_mask),
            "trusted": only(trusted.to(advantage.dtype), batch.loss_mask),
        }
        return TokenLoss(only(value, batch.loss_mask), metrics)

    def _outlying(self, student: Scores, teacher: Scores, batch: TokenBatch) -> Tensor:
        if self.outliers == "mask":
            return torch.zeros(batch.loss_mask.shape, device=batch.loss_mask.device)
        return exact_sum(ForwardKL(), "drop", student, teacher, batch)
