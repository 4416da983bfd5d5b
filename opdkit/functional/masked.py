"""Removes masked tokens from values and gradients, NaNs included."""

from __future__ import annotations

import torch
from torch import Tensor


def only(values: Tensor, mask: Tensor) -> Tensor:
    """values where mask is True, zero elsewhere; what is dropped may be NaN or infinite and gets gradient 0.

    values f[B, T] or f[B, T, K]; mask bool[B, T].
    """
    return torch.where(mask.view(*mask.shape, *[1] * (values.dim() - mask.dim())), values, 0.0)
