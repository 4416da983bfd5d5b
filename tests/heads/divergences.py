"""Divergences written out plainly, each with the slope that its terms' derivative gives."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ReverseKL:
    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * (log_p - log_q)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * (log_p - log_q)


@dataclass(frozen=True)
class ForwardKL:
    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_q.exp() * (log_q - log_p)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() - log_q.exp()


@dataclass(frozen=True)
class JensenShannon:
    beta: float = 0.3

    def _log_m(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        share = torch.tensor([self.beta, 1 - self.beta], dtype=log_p.dtype).log()
        return torch.logaddexp(log_q + share[0], log_p + share[1])

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        log_m = self._log_m(log_p, log_q)
        return self.beta * log_q.exp() * (log_q - log_m) + (1 - self.beta) * log_p.exp() * (log_p - log_m)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (1 - self.beta) * log_p.exp() * (log_p - self._log_m(log_p, log_q))


@dataclass(frozen=True)
class TotalVariation:
    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * (log_p.exp() - log_q.exp()).abs()

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * log_p.exp() * (log_p - log_q).sign()


@dataclass(frozen=True)
class SquaredLogRatio:
    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * log_p.exp() * (log_p - log_q).square()

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        ratio = log_p - log_q
        return log_p.exp() * (0.5 * ratio.square() + ratio)


DIVERGENCES = (ReverseKL(), ForwardKL(), JensenShannon(), TotalVariation(), SquaredLogRatio())
