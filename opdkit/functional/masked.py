"""Zeros masked tokens in values and gradients, even where they are NaN."""

from __future__ import annotations

import torch
from torch import Tensor


def only(values: Tensor, mask: Tensor) -> Tensor:
    """values where mask is True, zero elsewhere; masked values may be NaN or infinite and get zero gradient.

    values f[B, T] or f[B, T, K]; mask bool[B, T].
    """
    return torch.where(mask.view(*mask.shape, *[1] * (values.dim() - mask.dim())), values, 0.0)
