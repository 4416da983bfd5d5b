"""Reduction of token losses to a scalar, loss = sum(value * weights); the only place where losses are normalised.

Each rule has a denominator, additive over disjoint sets of rows, and weights given the denominator of the whole
batch, so that the sum over micro-batches, or over ranks, equals the full batch's loss.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.errors import UserError


@dataclass(frozen=True)
class TokenMean:
    """The mean over all unmasked tokens of the global batch: sum_i sum_t loss / sum_i |o_i| (Eq. 8).

    arXiv 2603.25562. Long responses weigh more than short ones.
    """

    def denominator(self, mask: Tensor) -> Tensor:
        """The number of unmasked tokens. mask bool[B, T] -> f32[]."""
        return mask.sum().float()

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / denominator, 0.0)


@dataclass(frozen=True)
class SequenceMean:
    """The mean over a response's unmasked tokens, then the mean over responses: every response weighs the same.

    Fully masked responses are left out. This is what the authors' scripts compute with micro-batches of one.
    """

    def denominator(self, mask: Tensor) -> Tensor:
        """The number of responses with an unmasked token. mask bool[B, T] -> f32[]."""
        return mask.any(1).sum().float()

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / (denominator * mask.sum(1, keepdim=True)), 0.0)


@dataclass(frozen=True)
class SequenceSum:
    """The sum over a response's unmasked tokens divided by a constant, then the mean over responses.

    With the constant set to the length limit, token weights do not depend on the sampled lengths
    (Liu et al. 2025, arXiv 2503.20783). Fully masked responses count in the mean.
    """

    constant: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.constant) and self.constant > 0):
            raise UserError(f"aggregation.constant={self.constant}: must be a finite number above 0")

    def denominator(self, mask: Tensor) -> Tensor:
        """The number of responses. mask bool[B, T] -> f32[]."""
        return torch.full((), float(mask.shape[0]), device=mask.device)

    def weights(self, mask: Tensor, denominator: Tensor) -> Tensor:
        """mask bool[B, T], denominator f32[] of the whole batch -> f32[B, T]."""
        return torch.where(mask, 1.0 / (denominator * self.constant), 0.0)
