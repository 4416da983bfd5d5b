"""Token weights that correct for the mismatch between the inference engine's log-probs and the trainer's.

rho = pi_trainer / pi_engine of the sampled token, both under the weights that sampled it. No gradient flows through.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdkit.errors import UserError


class Mismatch(Protocol):
    """Maps log_ratio = log rho, f[B, T], to weights f[B, T]; the weight at rho = 1 is 1."""

    def __call__(self, log_ratio: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class MaskedRatio:
    """IcePop: rho where least <= rho <= most, else 0. Raises UserError unless 0 <= least <= 1 <= most.

    Attributes:
        least: lower bound on the ratio.
        most: upper bound on the ratio.
    """

    least: float = 0.5
    most: float = 5.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.least <= 1.0 <= self.most:
            raise UserError(f"objective.mismatch.least={self.least}, most={self.most}: must lie around 1, from 0 on")

    def __call__(self, log_ratio: Tensor) -> Tensor:
        ratio = log_ratio.detach().clamp(-20.0, 20.0).exp()
        return torch.where((ratio >= self.least) & (ratio <= self.most), ratio, 0.0)


@dataclass(frozen=True)
class TruncatedRatio:
    """Truncated importance sampling: min(rho, most). Raises UserError for most below 1.

    Attributes:
        most: the largest weight.
    """

    most: float = 2.0

    def __post_init__(self) -> None:
        if not self.most >= 1.0:
            raise UserError(f"objective.mismatch.most={self.most}: must be at least 1")

    def __call__(self, log_ratio: Tensor) -> Tensor:
        return log_ratio.detach().clamp(max=math.log(self.most)).exp()
