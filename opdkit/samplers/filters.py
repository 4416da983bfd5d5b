"""The samplers: each selects the ids that may be sampled, given logits divided by the temperature."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdkit.errors import UserError
from opdkit.samplers.ranking import count_to_mass, keep_largest


class Sampler(Protocol):
    """logits f[B, V] -> bool[B, V], the ids that may be sampled: at least one per row, none with logit -inf."""

    def __call__(self, logits: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Ancestral:
    """Every id."""

    def __call__(self, logits: Tensor) -> Tensor:
        return logits > -torch.inf


@dataclass(frozen=True)
class TopP:
    """Nucleus sampling: the smallest set of ids whose probabilities sum to `p` or more.

    The id that crosses `p` is included; ties go to the lower id; p = 1 keeps all.
    0 < p <= 1. Holtzman et al. 2020, https://arxiv.org/abs/1904.09751.
    """

    p: float = 0.9

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise UserError(f"sampler.p={self.p} is not allowed: top-p takes 0 < p <= 1")

    def __call__(self, logits: Tensor) -> Tensor:
        if self.p == 1:
            return logits > -torch.inf
        return keep_largest(logits, count_to_mass(logits, self.p))


@dataclass(frozen=True)
class TopK:
    """The `k` most likely ids, k >= 1; ties go to the lower id."""

    k: int = 50

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UserError(f"sampler.k={self.k} is not allowed: top-k takes k >= 1")

    def __call__(self, logits: Tensor) -> Tensor:
        count = min(self.k, logits.shape[-1])
        return keep_largest(logits, torch.full(logits.shape[:1], count, device=logits.device))


@dataclass(frozen=True)
class MinP:
    """The ids at least `p` times as likely as the most likely one, 0 <= p <= 1.

    p = 0 keeps all. Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.
    """

    p: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UserError(f"sampler.p={self.p} is not allowed: min-p takes 0 <= p <= 1")

    def __call__(self, logits: Tensor) -> Tensor:
        allowed = logits > -torch.inf
        if self.p == 0:
            return allowed
        return allowed & (logits >= logits.max(dim=-1, keepdim=True).values + math.log(self.p))


@dataclass(frozen=True)
class Greedy:
    """Only the most likely id; ties go to the lowest id."""

    def __call__(self, logits: Tensor) -> Tensor:
        return keep_largest(logits, torch.ones(logits.shape[:1], dtype=torch.long, device=logits.device))
