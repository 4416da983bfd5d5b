"""Online logsumexp and entropy of logits that arrive tile by tile."""

from __future__ import annotations

import torch
from torch import Tensor


class OnlineLogSumExp:
    """Per-row running sums of exp(z - peak) and, for the entropy, of (z - peak) exp(z - peak)."""

    def __init__(self, rows: int, device: torch.device, dtype: torch.dtype, entropy: bool = False) -> None:
        self._peak = torch.full((rows,), -torch.inf, dtype=dtype, device=device)
        self._total = torch.zeros(rows, dtype=dtype, device=device)
        self._moment = torch.zeros(rows, dtype=dtype, device=device) if entropy else None

    def absorb(self, logits: Tensor) -> None:
        """Add the logits [rows, W] of one more tile. Overwrites them."""
        peak = torch.maximum(self._peak, logits.amax(1))
        # At the first tile peak = -inf and total = 0: there is nothing to rescale, and -inf must not enter a product.
        fall = torch.where(self._total == 0, 0.0, self._peak - peak)
        decay = fall.exp()
        shifted = logits.sub_(peak.unsqueeze(1))
        if self._moment is None:
            share = shifted.exp_().sum(1)
        else:
            weights = shifted.exp()
            share = weights.sum(1)
            self._moment = (self._moment + fall * self._total) * decay + shifted.mul_(weights).sum(1)
        self._total = self._total * decay + share
        self._peak = peak

    def logsumexp(self) -> Tensor:
        """log sum exp z, [rows]."""
        return self._peak + self._total.log()

    def entropy(self) -> Tensor:
        """-sum p log p in nats, [rows]."""
        assert self._moment is not None
        return (self._total.log() - self._moment / self._total).clamp_min(0.0)
