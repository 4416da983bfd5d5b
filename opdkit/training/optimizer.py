"""AdamW with learning-rate schedules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from opdkit.errors import UserError


@dataclass(frozen=True)
class AdamW:
    """AdamW. lr: peak learning rate. clip_norm: global norm to clip gradients to, None for no clipping.
    schedule: constant, cosine or linear decay from lr to lr * min_lr_ratio, after warmup_steps of linear warmup."""

    lr: float = 2e-6
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01
    clip_norm: float | None = 1.0
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup_steps: int = 0
    min_lr_ratio: float = 0.0

    def __post_init__(self) -> None:
        if self.schedule not in ("constant", "cosine", "linear"):
            raise UserError(f"optim.schedule={self.schedule!r} is not one of constant, cosine, linear")
        if not self.lr > 0:
            raise UserError(f"optim.lr={self.lr} must be above 0")
        if self.warmup_steps < 0 or not 0 <= self.min_lr_ratio <= 1:
            raise UserError("optim.warmup_steps must be at least 0, and optim.min_lr_ratio between 0 and 1")
        if any(not 0 <= beta < 1 for beta in self.betas):
            raise UserError(f"optim.betas={list(self.betas)}; both must be at least 0 and below 1")
        if not self.eps >= 0 or not self.weight_decay >= 0:
            raise UserError(f"optim.eps={self.eps}, optim.weight_decay={self.weight_decay}; both must be at least 0")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise UserError(f"optim.clip_norm={self.clip_norm} must be above 0, or null for no clipping")

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        """The torch optimiser over `parameters`."""
        first, second = self.betas
        # Fused: one pass over each parameter, without temporary copies as large as the largest parameter.
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=(first, second), eps=self.eps, weight_decay=self.weight_decay, fused=True
        )

    def lr_at(self, step: int, steps: int) -> float:
        """The learning rate at step `step` (from 0) of `steps`."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        if self.schedule == "constant":
            return self.lr
        share = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        left = 0.5 * (1 + math.cos(math.pi * share)) if self.schedule == "cosine" else 1 - share
        return self.lr * (self.min_lr_ratio + (1 - self.min_lr_ratio) * left)
