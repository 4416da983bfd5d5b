"""Group-relative policy optimisation (GRPO), which learns from rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.loss import ModelNeeds, Needs, StepBatch, TokenBatch, TokenLoss
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.estimators import importance_ratio, ppo_surrogate, sampled_kl
from opdkit.functional.groups import group_advantage
from opdkit.functional.masked import only


@dataclass(frozen=True)
class GroupRelativePolicy:
    """PPO's clipped surrogate with A = (R - mean R) / (std R + 1e-6), the same for each token of a rollout.

    Mean and (population) std are over the rollouts of one prompt. A group whose rewards are all equal, or any of them
    unknown, has zero advantage.
    scale_by_deviation False skips the division (Dr. GRPO).
    kl_weight scales an added k3 estimate of the KL to the run's teacher; with teacher.path set to the student's initial
    weights this is the usual reference-model penalty. clip_range, clip_range_high, dual_clip: the surrogate's.
    Raises UserError on a value out of range.
    Source: Shao et al. 2024 (arXiv 2402.03300); without the std Liu et al. 2025 (arXiv 2503.20783).
    """

    clip_range: float = 0.2
    clip_range_high: float | None = None
    dual_clip: float | None = None
    scale_by_deviation: bool = True
    kl_weight: float = 0.0

    def __post_init__(self) -> None:
        _require(0.0 < self.clip_range < 1.0, "clip_range", self.clip_range, "between 0 and 1, both excluded")
        high = self.clip_range_high
        _require(high is None or 0.0 < high < math.inf, "clip_range_high", high, "above 0, or null")
        _require(self.dual_clip is None or self.dual_clip > 1.0, "dual_clip", self.dual_clip, "above 1, or null")
        _require(0.0 <= self.kl_weight < math.inf, "kl_weight", self.kl_weight, "at least 0, and finite")

    @property
    def needs(self) -> Needs:
        """The sampled tokens' log-probs, the rewards and the whole step's advantage; a teacher only for the KL."""
        sampled = ModelNeeds(sampled=True)
        teacher = sampled if self.kl_weight else None
        return Needs(
            student=sampled, teacher=teacher, old_log_prob=True, reward=True, advantage=True, siblings=True
        )  # fmt: skip

    def advantage(self, step: StepBatch) -> Tensor:
        """A f32[B, T], zero on masked tokens."""
        assert step.reward is not None
        assert step.group is not None
        centred = group_advantage(step.reward, step.group, step.reward_known, scale=self.scale_by_deviation)
        return torch.where(step.loss_mask, centred.to(step.reward.dtype).unsqueeze(1), 0.0)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]; metrics: advantage, importance_ratio."""
        assert student.sampled_log_prob is not None
        assert batch.advantage is not None
        log_p = only(student.sampled_log_prob, batch.loss_mask)
        old = log_p.detach() if batch.old_log_prob is None else only(batch.old_log_prob, batch.loss_mask)
        value = ppo_surrogate(log_p, old, batch.advantage, self.clip_range, self.dual_clip, self.clip_range_high)
        if self.kl_weight:
            assert teacher.sampled_log_prob is not None
            value = value + self.kl_weight * sampled_kl(
                log_p, old, only(teacher.sampled_log_prob, batch.loss_mask), "k3"
            )
        ratio = only(importance_ratio(log_p, old).detach(), batch.loss_mask)
        return TokenLoss(only(value, batch.loss_mask), {"advantage": batch.advantage, "importance_ratio": ratio})


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"objective.{name}={value}: must be {allowed}")
