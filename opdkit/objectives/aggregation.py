"""How token losses become one number: loss = sum(value * weights). Only here is anything divided.

Each rule splits into a denominator, which adds up over disjoint sets of rows, and weights under the
denominator of the whole batch. So the sum over micro-batches, or over processes, is the full batch's loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.errors import UserError


@dataclass(frozen=True)
class TokenMean:
    """Every counted token of the global batch weighs the same: sum_i sum_t loss / sum_i |o_i| (Eq. 8).

    arXiv 2603.25562. A long response weighs more than a short one.
    """

    def denominator(self, mask: Tensor) -> Tensor:
        """Counted tokens. mask bool[B, T] -> f32[]."""
        return mask.sum().float()

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / denominator, 0.0)


@dataclass(frozen=True)
class SequenceMean:
    """The mean over a response's counted tokens, then the mean over responses: every response weighs the same.

    A response without a counted token is left out. What the authors' scripts do with micro-batches of one.
    """

    def denominator(self, mask: Tensor) -> Tensor:
        """Responses with a counted token. mask bool[B, T] -> f32[]."""
        return mask.any(1).sum().float()

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / (denominator * mask.sum(1, keepdim=True)), 0.0)


@dataclass(frozen=True)
class SequenceSum:
    """The sum over a response's counted tokens over a constant, then the mean over responses.

    With the constant at the length limit no token's weight depends on the lengths that were sampled
    (Liu et al. 2025, arXiv 2503.20783). Responses without a counted token are in the mean.
    """

    constant: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.constant) and self.constant > 0):
            raise UserError(f"aggregation.constant={self.constant}: must be a finite number above 0")

    def denominator(self, mask: Tensor) -> Tensor:
        """Responses. mask bool[B, T] -> f32[]."""
        return torch.full((), float(mask.shape[0]), device=mask.device)

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / (denominator * self.constant), 0.0)
