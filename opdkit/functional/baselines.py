"""Control variates: what is subtracted from a sampled token's cost, and depends on its prefix alone.

Since E[s | c] = 0, no baseline of the prefix c changes the mean gradient; a good one takes variance away.
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
"""One summand of a support's sum, from log p and log q; all f[...] of one shape."""

Sums = Callable[[Term], Tensor]
"""From a term to its sum over the ids of the support at each prefix, f[B, T]."""


@dataclass(frozen=True)
class Baseline:
    """b(c) of the cost at each prefix, over the `k` best ids of the teacher, or over the whole vocabulary (k null).

    expected: E_p[cost | v in S], the reverse KL itself where the cost is the log-ratio (vOPD, arXiv 2605.07865).
    least_variance: E_p[|s|^2 cost] / E_p[|s|^2] with s in the student's logits, |s_v|^2 = 1 - 2 p_v + sum p^2: the
    baseline under which E |(cost - b) s|^2 is least; `expected` may be above no baseline at all.
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
        """b, f[B, T]. A prefix whose support holds no mass gets 0."""
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
