"""Sampled-token on-policy distillation, the baseline."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from opdkit.errors import UserError
from opdkit.functional.estimators import importance_ratio, ppo_surrogate, reward_to_go, score_function
from opdkit.functional.masked import only
from opdkit.types import Needs, Scores, TokenBatch, TokenLoss

Surrogate = Literal["ppo", "score"]


@dataclass(frozen=True)
class SampledToken:
    """A policy gradient on the log-ratio of the tokens that the student wrote.

    r_t = log pi(y_t | c_t) - log q(y_t | c_t), pi the student before the first update on this batch, q the
    teacher; A_t = -sum_{t' >= t} discount^(t' - t) r_t' + reward_weight * R, over counted tokens, constant
    in the gradient. The loss is `ppo_surrogate` or `score_function` of A. No baseline, no whitening.
    discount 0 is token-level, 1 the causal sequence-level estimator. At discount 0 and one update the mean
    gradient is that of the full KL(pi || q) at each prefix, one sample of it a token.

    clip_log_ratio: |r_t| is cut to it before anything is summed, None leaves it; reward_weight: of the
    outcome reward R; clip_range, dual_clip: of the PPO surrogate. Errors: UserError on a value out of range.
    Source: arXiv 2603.25562 Section 3 and App. D; thinkingmachines.ai, "On-Policy Distillation" (2025).
    """

    discount: float = 0.0
    clip_log_ratio: float | None = None
    reward_weight: float = 0.0
    surrogate: Surrogate = "ppo"
    clip_range: float = 0.2
    dual_clip: float | None = 3.0

    def __post_init__(self) -> None:
        _require(0.0 <= self.discount <= 1.0, "discount", self.discount, "between 0 and 1")
        _require(
            self.clip_log_ratio is None or self.clip_log_ratio > 0,
            "clip_log_ratio",
            self.clip_log_ratio,
            "above 0, or null",
        )
        _require(math.isfinite(self.reward_weight), "reward_weight", self.reward_weight, "a finite number")
        _require(self.surrogate in get_args(Surrogate), "surrogate", self.surrogate, "ppo or score")
        _require(0.0 < self.clip_range < 1.0, "clip_range", self.clip_range, "between 0 and 1, both excluded")
        _require(self.dual_clip is None or self.dual_clip > 1.0, "dual_clip", self.dual_clip, "above 1, or null")

    @property
    def needs(self) -> Needs:
        """Both models' log-probs of the sampled tokens; old ones only where a ratio is formed."""
        ratio = self.surrogate == "ppo"
        return Needs(sampled=True, old_log_prob=ratio, reward=self.reward_weight != 0.0, single_update=not ratio)

    def __call__(self, student: Scores, teacher: Scores, batch: TokenBatch) -> TokenLoss:
        """value f32[B, T]; metrics: advantage, and importance_ratio under ppo."""
        assert student.sampled_log_prob is not None
        assert teacher.sampled_log_prob is not None
        log_pi = only(student.sampled_log_prob, batch.mask)
        log_q = only(teacher.sampled_log_prob, batch.mask)
        old = log_pi.detach() if batch.old_log_prob is None else only(batch.old_log_prob, batch.mask)
        advantage = self._advantage(old - log_q, batch).detach()
        if self.surrogate == "score":
            return TokenLoss(only(score_function(log_pi, advantage), batch.mask), {"advantage": advantage})
        loss = ppo_surrogate(log_pi, old, advantage, self.clip_range, self.dual_clip)
        ratio = only(importance_ratio(log_pi, old).detach(), batch.mask)
        return TokenLoss(only(loss, batch.mask), {"advantage": advantage, "importance_ratio": ratio})

    def _advantage(self, log_ratio: Tensor, batch: TokenBatch) -> Tensor:
        """A_t f32[B, T], zero outside the mask, as log_ratio is."""
        if self.clip_log_ratio is not None:
            log_ratio = log_ratio.clamp(-self.clip_log_ratio, self.clip_log_ratio)
        advantage = -reward_to_go(log_ratio, self.discount)
        if self.reward_weight != 0.0:
            assert batch.reward is not None
            advantage = advantage + self.reward_weight * batch.reward.to(advantage.dtype).unsqueeze(1)
        return only(advantage, batch.mask)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"objective.{name}={value}: must be {allowed}")
