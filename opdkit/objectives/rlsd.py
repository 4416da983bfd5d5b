"""Self-distilled RLVR: GRPO with token weights from the student itself, prompted with the gold answer."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from opdkit.data.loss import ModelNeeds, Needs, StepBatch, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.masked import only
from opdkit.objectives.grpo import GroupRelativePolicy


@dataclass(frozen=True)
class SelfDistilledPolicy(GroupRelativePolicy):
    """GRPO with A_t = A [(1 - lam) + lam clip(w_t, 1 - e, 1 + e)], w_t = exp(sign(A) D_t).

    D_t = log q(y_t) - log p(y_t), q the student given a prompt with the gold answer (`teacher=told_answer`).
    A_t always has the sign of A, and lam = 0 is GRPO bit for bit.

    Attributes:
        lam: mixing coefficient of the weights at the first step, 0 to 1.
        lam_end: mixing coefficient from step `lam_steps` on; linear in between.
        lam_steps: length of the linear schedule in steps. None keeps `lam` constant.
        weight_range: e, the clip range of a weight around 1.

    Units: as in GRPO. No gradient flows through the weights. Raises UserError on a value out of range.
    Source: arXiv 2604.03128.
    """

    lam: float = 0.5
    lam_end: float = 0.0
    lam_steps: int | None = 50
    weight_range: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("lam", "lam_end"):
            value = getattr(self, name)
            _require(0.0 <= value <= 1.0, name, value, "between 0 and 1")
        _require(self.lam_steps is None or self.lam_steps >= 1, "lam_steps", self.lam_steps, "at least 1, or null")
        _require(0.0 < self.weight_range < 1.0, "weight_range", self.weight_range, "between 0 and 1, both excluded")

    @property
    def needs(self) -> Needs:
        """GRPO's, and the teacher's log-prob of the sampled tokens."""
        return replace(super().needs, teacher=ModelNeeds(sampled=True))

    def share(self, step: int) -> float:
        """lam at step `step` (from 0)."""
        if self.lam_steps is None:
            return self.lam
        left = max(0.0, 1.0 - step / self.lam_steps)
        return self.lam_end + (self.lam - self.lam_end) * left

    def advantage(self, step: StepBatch) -> Tensor:
        """A_t f32[B, T], zero on masked tokens."""
        plain = super().advantage(step)
        lam = self.share(step.step)
        if lam == 0.0:
            return plain
        assert step.old_log_prob is not None
        assert step.teacher_log_prob is not None
        gain = only(step.teacher_log_prob - step.old_log_prob, step.loss_mask)
        return plain * ((1.0 - lam) + lam * self.weight(plain, gain))

    def weight(self, advantage: Tensor, gain: Tensor) -> Tensor:
        """clip(exp(sign(A) D), 1 - e, 1 + e), f32[B, T]."""
        bound = math.log1p(self.weight_range), math.log1p(-self.weight_range)
        return (advantage.sign() * gain).clamp(bound[1], bound[0]).exp()

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """See GRPO. Additional metrics: token_weight, and weight_clipped, the fraction of clipped weights."""
        assert student.sampled_log_prob is not None
        assert teacher.sampled_log_prob is not None
        assert batch.advantage is not None
        loss = super().__call__(student, teacher, batch)
        old = student.sampled_log_prob.detach() if batch.old_log_prob is None else batch.old_log_prob
        weight = self.weight(batch.advantage, only(teacher.sampled_log_prob - old, batch.loss_mask))
        inside = (weight > 1.0 - self.weight_range + 1e-6) & (weight < 1.0 + self.weight_range - 1e-6)
        clipped = only((~inside).float(), batch.loss_mask)
        return replace(loss, metrics={**loss.metrics, "token_weight": only(weight, batch.loss_mask),
                                      "weight_clipped": clipped})  # fmt: skip


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        shown = "null" if value is None else value
        raise UserError(f"objective.{name}={shown}: must be {allowed}")
