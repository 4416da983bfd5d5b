"""Policy-gradient surrogates: each has gradient -A_t s_t on-policy, and they differ once the student has moved.

s_t = grad log pi(y_t). All take log_prob, old_log_prob, advantage f[B, T]; no gradient flows through the last two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from opdkit.errors import UserError
from opdkit.functional.estimators import importance_ratio, ppo_surrogate, score_function


class Surrogate(Protocol):
    """single_update: whether the gradient is correct only for the first update on a rollout batch."""

    @property
    def single_update(self) -> bool: ...

    def __call__(self, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Score:
    """-A log pi, the plain score function without importance ratio, for batches used for a single update."""

    @property
    def single_update(self) -> bool:
        return True

    def __call__(self, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor:
        return score_function(log_prob, advantage)


@dataclass(frozen=True)
class Ratio:
    """-A w, w = pi / pi_old: unbiased given the prefix for a token sampled by the old student; unbounded."""

    @property
    def single_update(self) -> bool:
        return False

    def __call__(self, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor:
        return -advantage.detach() * importance_ratio(log_prob, old_log_prob)


@dataclass(frozen=True)
class Clipped:
    """PPO's clipped form of -A w (`ppo_surrogate`). Raises UserError for a clip out of range."""

    clip_range: float = 0.2
    dual_clip: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.clip_range < 1.0:
            raise UserError(f"objective.surrogate.clip_range={self.clip_range}: must be between 0 and 1, both excluded")
        if self.dual_clip is not None and not self.dual_clip > 1.0:
            raise UserError(f"objective.surrogate.dual_clip={self.dual_clip}: must be above 1, or null")

    @property
    def single_update(self) -> bool:
        return False

    def __call__(self, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor) -> Tensor:
        return ppo_surrogate(log_prob, old_log_prob, advantage, self.clip_range, self.dual_clip)
