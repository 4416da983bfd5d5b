"""How a product too large to keep, [N, V], is walked: tiles of the vocabulary, and blocks of rows inside each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads.head import Head, LogitShape, accumulate_type, product_type

# Logits alive at a time, whatever N and V are. On a CPU a tile should stay in the cache; an accelerator
# wants enough work in each launch.
_ALIVE_CPU = 2**20
_ALIVE_ACCELERATOR = 2**25
_WIDEST = 2**13


@dataclass(frozen=True)
class Tile:
    """Vocabulary ids start..stop, and their rows of the lm_head in the product's type."""

    start: int
    stop: int
    weight: Tensor
    bias: Tensor | None

    def logits(self, hidden: Tensor, shape: LogitShape) -> Tensor:
        """z / temperature for these rows of hidden and this tile's ids, f32 (f64 where an input is): new storage."""
        product = torch.mm(hidden, self.weight.t())
        product = product.to(accumulate_type(hidden, self.weight))
        if self.bias is not None:
            product += self.bias
        return shape.apply_(product)


@dataclass(frozen=True)
class Plan:
    """The walk over one head for N rows: `rows` row slices inside each of `tiles`."""

    rows: list[slice]
    width: int
    vocabulary: int
    weight: Tensor
    bias: Tensor | None
    product: torch.dtype

    def tiles(self) -> Iterator[Tile]:
        """Each tile of the vocabulary in turn, in ascending ids."""
        for start in range(0, self.vocabulary, self.width):
            stop = min(start + self.width, self.vocabulary)
            bias = None if self.bias is None else self.bias[start:stop]
            yield Tile(start, stop, self.weight[start:stop].to(self.product), bias)


def plan(hidden: Tensor, weight: Tensor, bias: Tensor | None, vocabulary: int) -> Plan:
    """A walk that keeps the logits alive at a time under a fixed number.

    hidden [N, D]; weight [R, D] with R >= vocabulary.
    """
    alive = _ALIVE_CPU if hidden.device.type == "cpu" else _ALIVE_ACCELERATOR
    count = max(1, hidden.shape[0])
    width = min(vocabulary, max(_WIDEST, alive // count))
    step = max(1, alive // width)
    rows = [slice(start, min(start + step, count)) for start in range(0, hidden.shape[0], step)]
    return Plan(rows, width, vocabulary, weight, bias, product_type(hidden, weight))
