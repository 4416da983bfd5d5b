"""Heads of every kind that an architecture has, small enough for finite differences."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads import Head


@dataclass(frozen=True)
class Kind:
    name: str
    bias: bool = False
    scale: float = 1.0
    softcap: float | None = None
    padding: int = 0
    temperature: float = 1.0

    def head(self, weight: Tensor, bias: Tensor | None) -> Head:
        return Head(weight, bias, self.scale, self.softcap, len(weight) - self.padding)

    def parts(self, vocabulary: int = 21, width: int = 4, seed: int = 0, dtype: torch.dtype = torch.float64):
        """weight [V + padding, D] and bias; the padded rows are huge, so that reading one shows. 21 ids in
        tiles of 5 leave a last tile of one."""
        source = torch.Generator().manual_seed(seed)
        weight = torch.randn(vocabulary + self.padding, width, dtype=torch.float64, generator=source)
        weight[vocabulary:] *= 1e6
        bias = torch.randn(len(weight), dtype=torch.float64, generator=source) if self.bias else None
        return weight.to(dtype), None if bias is None else bias.to(dtype)


KINDS = (
    Kind("plain"),
    Kind("bias", bias=True),
    Kind("scale", scale=0.3),
    Kind("softcap", softcap=2.0),
    Kind("padded", padding=5),
    Kind("temperature", temperature=0.7),
    Kind("all", bias=True, scale=1.7, softcap=3.0, padding=3, temperature=1.3),
)
