"""Correction for the mismatch between the inference engine's log-probs and the student's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from opdkit.errors import UserError

Mode = Literal["none", "token_tis", "sequence_mask"]


@dataclass(frozen=True)
class EngineCorrection:
    """The weight of a token's loss, from its probability ratio r = p_student / p_engine.

    Attributes:
        mode: none; token_tis: each token has weight min(r, cap) (truncated importance sampling);
            sequence_mask: rows whose product of r is above cap or below 1/cap are masked.
        cap: upper bound of the ratio, above 1.
    """

    mode: Mode = "none"
    cap: float = 2.0

    def __post_init__(self) -> None:
        if self.mode not in get_args(Mode):
            raise UserError(f"engine_correction={self.mode!r} is not one of {', '.join(get_args(Mode))}")
        if not self.cap > 1:
            raise UserError(f"engine_cap={self.cap} must be above 1")

    def weights(self, student: Tensor, engine: Tensor, mask: Tensor) -> Tensor:
        """Weights f32[B, T] of the tokens in mask bool[B, T] from both log-probs, zeros elsewhere."""
        log_ratio = torch.where(mask, student - engine, 0.0)
        if self.mode == "token_tis":
            return torch.where(mask, log_ratio.exp().clamp(max=self.cap), 0.0)
        if self.mode == "sequence_mask":
            kept = log_ratio.sum(dim=1).exp()
            return (((kept <= self.cap) & (kept >= 1 / self.cap))[:, None] & mask).float()
        return mask.float()


def gap_metrics(student: Tensor, engine: Tensor, mask: Tensor) -> dict[str, float]:
    """Statistics of the difference between two log-probs f32[B, T] at the tokens in mask bool[B, T], in nats."""
    gap = (student - engine)[mask].abs()
    if not gap.numel():
        return {}
    return {
        "engine/log_prob_gap_mean": float(gap.double().mean()),
        "engine/log_prob_gap_max": float(gap.max()),
        "engine/log_prob_gap_share": float((gap > 0.1).double().mean()),
    }
