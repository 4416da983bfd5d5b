"""Per-token loss weights, which are constants in the gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdkit.errors import UserError


class Weighting(Protocol):
    """Maps log_ratio f[B, T] (log pi - log q of the sampled tokens, None unless `needs_log_ratio`), entropy f[B, T] (of
    the behaviour policy, nats) and mask bool[B, T] to weights f[B, T]."""

    @property
    def needs_log_ratio(self) -> bool: ...

    def __call__(self, log_ratio: Tensor | None, entropy: Tensor | None, mask: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class EntropySelected:
    """1 on the `fraction` of a response's unmasked tokens with the highest student entropy, 0 on the others.

    Unlike masking=entropy it does not change the denominator: the loss is averaged over all unmasked tokens. Ties go
    to the earlier token; at least one token per response is kept. Method A8 of arXiv 2603.25562. Raises UserError.
    """

    fraction: float = 0.2

    def __post_init__(self) -> None:
        _require(0.0 < self.fraction <= 1.0, "fraction", self.fraction, "above 0 and at most 1")

    @property
    def needs_log_ratio(self) -> bool:
        return False

    def __call__(self, log_ratio: Tensor | None, entropy: Tensor | None, mask: Tensor) -> Tensor:
        assert entropy is not None
        order = entropy.masked_fill(~mask, -torch.inf).argsort(dim=1, descending=True, stable=True)
        places = torch.arange(order.shape[1], device=order.device).expand_as(order)
        rank = torch.empty_like(order).scatter_(1, order, places)
        kept = (mask.sum(1, keepdim=True) * self.fraction).ceil().clamp(min=1)
        return ((rank < kept) & mask).to(entropy.dtype)


@dataclass(frozen=True)
class CumulativeRatio:
    """IW-OPD: w_t = 1 + strength (1 - sum_{s<t} |r_s| / sum_s |r_s|), r the sampled log-ratios of a response.

    The weight falls from 1 + strength at the first token towards 1 as student and teacher drift apart.
    A response with all r_s = 0 has weight 1 + strength throughout. arXiv 2606.22600. Raises UserError.
    """

    strength: float = 0.5

    def __post_init__(self) -> None:
        _require(self.strength > 0.0, "strength", self.strength, "above 0")

    @property
    def needs_log_ratio(self) -> bool:
        return True

    def __call__(self, log_ratio: Tensor | None, entropy: Tensor | None, mask: Tensor) -> Tensor:
        assert log_ratio is not None
        size = torch.where(mask, log_ratio.detach().abs(), 0.0)
        before = size.cumsum(1) - size
        total = size.sum(1, keepdim=True)
        return 1.0 + self.strength * (1.0 - before / total.clamp(min=torch.finfo(size.dtype).tiny))


@dataclass(frozen=True)
class PositionDecay:
    """w_t = 2^(-t / half_life), t the token's index in its response, from 0: later tokens count less.

    half_life in tokens. Raises UserError.
    """

    half_life: float = 256.0

    def __post_init__(self) -> None:
        _require(self.half_life > 0.0, "half_life", self.half_life, "above 0")

    @property
    def needs_log_ratio(self) -> bool:
        return False

    def __call__(self, log_ratio: Tensor | None, entropy: Tensor | None, mask: Tensor) -> Tensor:
        place = torch.arange(mask.shape[1], device=mask.device, dtype=torch.float32)
        return torch.exp2(-place / self.half_life).expand(mask.shape)


def _require(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise UserError(f"objective.weighting.{name}={value}: must be {allowed}")
