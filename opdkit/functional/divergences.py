"""Per-id divergences between a student p and a teacher q, computed from their log-probs.

Each is a frozen dataclass with three methods for the same formula D = sum_v terms_v:
terms(log_p, log_q): the summands, differentiable in log_p; 0 where p = q.
slope: d terms / d log p up to c p, c a constant, so that over a whole distribution dD / dz_v = slope_v - p_v sum slope.
cost: slope / p, the weight of s = grad log p when ids are drawn from p: grad D = E_p[cost s]; 0 where p = q.
All take and return f[...] of one shape, in nats. Log-probs must be finite; a masked id has both set to 0.
All but `DensityPower` are f-divergences: scaling p and q by c scales terms by c.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from opdkit.errors import UserError

# Log-ratios are clamped here: beyond it, exp is too large for a float32 gradient to be useful.
_LARGEST_LOG_RATIO = 20.0


class Divergence(Protocol):
    """The divergence interface used by objectives and heads."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor: ...

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor: ...

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor: ...


def at_sample(divergence: Divergence, log_p: Tensor, log_q: Tensor) -> Tensor:
    """terms / p, f[...]: the one-sample estimate of D from an id drawn from p; log(p / q) for the reverse KL.

    Scaling both probabilities by 1 / p leaves terms(1, q / p), which needs no division; q / p is bounded by e^20.
    """
    ratio = (log_q - log_p).clamp(max=_LARGEST_LOG_RATIO)
    return divergence.terms(torch.zeros_like(ratio), ratio)


def _bounded_exp(log_ratio: Tensor) -> Tensor:
    """exp clamped to at most e^20, so that a ratio of probabilities stays finite in float32."""
    return log_ratio.clamp(max=_LARGEST_LOG_RATIO).exp()


@dataclass(frozen=True)
class ReverseKL:
    """KL(p || q) = sum p log(p / q): mode-seeking, penalises tokens that the teacher finds unlikely."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * (log_p - log_q)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return self.terms(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p - log_q


@dataclass(frozen=True)
class ForwardKL:
    """KL(q || p) = sum q log(q / p): mass-covering, the student must cover all of the teacher's tokens."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_q.exp() * (log_q - log_p)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() - log_q.exp()

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 1.0 - _bounded_exp(log_q - log_p)


@dataclass(frozen=True)
class JensenShannon:
    """beta KL(q || m) + (1 - beta) KL(p || m), m = beta q + (1 - beta) p, 0 < beta < 1.

    Divided by beta (1 - beta) it tends to the forward KL as beta -> 0 and to the reverse KL as beta -> 1; at most log 2
    at beta = .5. Agarwal et al. 2024 (arXiv 2306.13649). Raises UserError for beta outside (0, 1).
    """

    beta: float = 0.5

    def __post_init__(self) -> None:
        _require_inside("beta", self.beta, "0 is the limit of forward_kl, 1 that of reverse_kl: choose those")

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        log_m = _log_mixture(log_p, log_q, self.beta)
        return self.beta * log_q.exp() * (log_q - log_m) + (1 - self.beta) * log_p.exp() * (log_p - log_m)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (1 - self.beta) * (log_p - _log_mixture(log_p, log_q, self.beta))


@dataclass(frozen=True)
class SkewForwardKL:
    """KL(q || m), m = alpha q + (1 - alpha) p, 0 < alpha < 1: a forward KL of at most -log alpha.

    Ko et al. 2024 (arXiv 2402.03898). Raises UserError for alpha outside (0, 1).
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        _require_inside("alpha", self.alpha, "0 is forward_kl, and at 1 the loss is always 0")

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_q.exp() * (log_q - _log_mixture(log_p, log_q, self.alpha))

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (1 - self.alpha) * (1.0 - (log_q - _log_mixture(log_p, log_q, self.alpha)).exp())


@dataclass(frozen=True)
class SkewReverseKL:
    """KL(p || m), m = alpha p + (1 - alpha) q, 0 < alpha < 1: a reverse KL of at most -log alpha.

    Ko et al. 2024 (arXiv 2402.03898). Raises UserError for alpha outside (0, 1).
    """

    alpha: float = 0.1

    def __post_init__(self) -> None:
        _require_inside("alpha", self.alpha, "0 is reverse_kl, and at 1 the loss is always 0")

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * (log_p - _log_mixture(log_q, log_p, self.alpha))

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        log_share = log_p - _log_mixture(log_q, log_p, self.alpha)  # log(p / m), at most -log alpha
        return log_share + self.alpha * (1.0 - log_share.exp())


@dataclass(frozen=True)
class Jeffreys:
    """KL(p || q) + KL(q || p) = sum (p - q) log(p / q), symmetric in p and q."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (log_p.exp() - log_q.exp()) * (log_p - log_q)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        p = log_p.exp()
        return p * (log_p - log_q) + p - log_q.exp()

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p - log_q + 1.0 - _bounded_exp(log_q - log_p)


@dataclass(frozen=True)
class TotalVariation:
    """1/2 sum |p - q|, between 0 and 1. Its gradient at p = q is taken as 0."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * (log_p.exp() - log_q.exp()).abs()

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * (log_p - log_q).sign()


@dataclass(frozen=True)
class SquaredLogRatio:
    """1/2 sum p (log(p / q))^2: half the second moment of the log-ratio under the student."""

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return 0.5 * log_p.exp() * (log_p - log_q).square()

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        ratio = log_p - log_q
        return 0.5 * ratio.square() + ratio


@dataclass(frozen=True)
class Alpha:
    """(1 - sum q^alpha p^(1 - alpha)) / (alpha (1 - alpha)), 0 < alpha < 1: the reverse KL as alpha -> 0, the forward
    KL as alpha -> 1.

    cost = (1 - (q / p)^alpha) / alpha: at the sampled token, -cost is a log-ratio bounded from below by -1 / alpha.
    Amari, *Differential-Geometrical Methods in Statistics*, 1985; as a reward after PowerOPD (arXiv 2606.17199).
    Raises UserError for alpha outside (0, 1).
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        _require_inside("alpha", self.alpha, "0 is the limit of reverse_kl, 1 that of forward_kl: choose those")

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        mixed = (self.alpha * log_q + (1 - self.alpha) * log_p).exp()
        weighed = (1 - self.alpha) * log_p.exp() + self.alpha * log_q.exp()
        return (weighed - mixed) / (self.alpha * (1 - self.alpha))

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (log_p.exp() - (self.alpha * log_q + (1 - self.alpha) * log_p).exp()) / self.alpha

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (1.0 - _bounded_exp(self.alpha * (log_q - log_p))) / self.alpha


@dataclass(frozen=True)
class DensityPower:
    """sum (p^(1 + a) - (1 + a) p q^a + a q^(1 + a)) / (1 + a), a > 0: the density power divergence, bounded.

    cost = p^a - q^a, so -cost at the sampled token is PowerOPD's reward q^a - p^a (arXiv 2606.17199), in [-1, 1].
    Divided by a, it tends to the log-ratio, and the divergence to the reverse KL, as a -> 0. Not an f-divergence.
    Basu et al., *Robust and efficient estimation by minimising a density power divergence*, Biometrika 85, 1998.
    Raises UserError unless power is finite and above 0.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.power < math.inf:
            raise UserError(f"objective.divergence.power={self.power}: must be above 0, and finite")

    def terms(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        a = self.power
        own, cross = ((1 + a) * log_p).exp(), (log_p + a * log_q).exp()
        return (own - (1 + a) * cross + a * ((1 + a) * log_q).exp()) / (1 + a)

    def slope(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return log_p.exp() * self.cost(log_p, log_q)

    def cost(self, log_p: Tensor, log_q: Tensor) -> Tensor:
        return (self.power * log_p).exp() - (self.power * log_q).exp()


def _log_mixture(log_p: Tensor, log_q: Tensor, share: float) -> Tensor:
    """log(share q + (1 - share) p)."""
    return torch.logaddexp(log_q + math.log(share), log_p + math.log1p(-share))


def _require_inside(name: str, value: float, limits: str) -> None:
    if not 0.0 < value < 1.0:
        raise UserError(f"objective.divergence.{name}={value}: must be between 0 and 1, both excluded ({limits})")
