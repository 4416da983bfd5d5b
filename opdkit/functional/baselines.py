"""Control variates: baselines subtracted from a sampled token's cost that depend only on its prefix.

Since E[s | c] = 0, no baseline of the prefix c changes the mean gradient; a good one reduces its variance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from opdkit.errors import UserError

Kind = Literal["expected", "least_variance"]


Term = Callable[[Tensor, Tensor], Tensor]
"""A function of (log p, log q) that is summed over a support; arguments and result are f[...] of the same shape."""

Sums = Callable[[Term], Tensor]
"""Maps a term to its sum over the support at each prefix, f[B, T]."""


@dataclass(frozen=True)
class Baseline:
    """b(c) of the cost at each prefix, over the teacher's top `k` ids, or over the whole vocabulary (k null).

    expected: E_p[cost | v in S], the reverse KL itself where the cost is the log-ratio (vOPD, arXiv 2605.07865).
    least_variance: E_p[|s|^2 cost] / E_p[|s|^2] with s in the student's logits, |s_v|^2 = 1 - 2 p_v + sum p^2: the
    baseline that minimises E |(cost - b) s|^2; `expected` can have more variance than no baseline at all.
    Raises UserError for a kind or k out of range.
    """

    kind: Kind = "expected"
    k: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in ("expected", "least_variance"):
            raise UserError(f"objective.baseline.kind={self.kind}: must be one of expected, least_variance")
        if self.k is not None and self.k < 1:
            raise UserError(f"objective.baseline.k={self.k}: must be at least 1, or null for the whole vocabulary")

    def __call__(self, summed: Sums, cost: Term) -> Tensor:
        """b, f[B, T]; 0 at a prefix whose support has no probability mass."""
        mass = summed(lambda log_p, _: log_p.exp())
        mean = summed(lambda log_p, log_q: log_p.exp() * cost(log_p, log_q))
        if self.kind == "expected":
            return _ratio(mean, mass)
        square = summed(lambda log_p, _: (2 * log_p).exp())
        weighed = summed(lambda log_p, log_q: (2 * log_p).exp() * cost(log_p, log_q))
        return _ratio((1 + square) * mean - 2 * weighed, (1 + square) * mass - 2 * square)


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    held = denominator > 1e-6
    return torch.where(held, numerator / torch.where(held, denominator, 1.0), 0.0)
