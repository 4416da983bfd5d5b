"""Splits a product too large to keep, [N, V], into vocabulary tiles and row blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads.head import Head, LogitShape, accumulate_type, exact_products, product_type

# Logits alive at a time, whatever N and V are: a CPU's cache is small, an accelerator wants work in each launch.
_ALIVE_CPU = 2**20
_ALIVE_ACCELERATOR = 2**25
_NARROWEST = 2**11
# Logits that `plan_kept` lets a block of rows fill, over the whole vocabulary; on a CPU in tiles of its own cache.
_KEPT_CPU, _KEPT_TILE_CPU = 2**24, 2**18
_KEPT_ACCELERATOR = 2**27


@dataclass(frozen=True)
class Tile:
    """Vocabulary ids start..stop of a walk."""

    start: int
    stop: int
    weight: Tensor
    bias: Tensor | None
    hidden: Tensor
    shape: LogitShape
    dtype: torch.dtype

    def logits(self, rows: slice) -> Tensor:
        """z / temperature of these rows and this tile's ids, [rows, W] in `dtype`: the caller's to overwrite."""
        with exact_products(self.hidden):
            product = _wide_product(self.hidden[rows], self.weight.t(), self.dtype)
        if self.bias is not None:
            product += self.bias
        return self.shape.apply_(product)


@dataclass(frozen=True)
class VocabularyTiling:
    """`rows`, slices of N, are visited inside each tile of `width` ids; `product` is the type of what is multiplied."""

    head: Head
    hidden: Tensor
    shape: LogitShape
    rows: list[slice]
    width: int
    product: torch.dtype

    def tiles(self) -> Iterator[Tile]:
        """Each tile of the vocabulary in turn, in ascending ids."""
        head, dtype = self.head, accumulate_type(self.hidden, self.head.weight)
        for start in range(0, head.vocabulary, self.width):
            stop = min(start + self.width, head.vocabulary)
            bias = None if head.bias is None else head.bias[start:stop]
            weight = head.weight[start:stop].to(self.product)
            yield Tile(start, stop, weight, bias, self.hidden, self.shape, dtype)


def logits_alive(device: torch.device) -> int:
    """How many logits a walk of `plan` holds at a time, at most."""
    return _ALIVE_CPU if device.type == "cpu" else _ALIVE_ACCELERATOR


def plan(hidden: Tensor, head: Head, temperature: float) -> VocabularyTiling:
    """A walk over hidden [N, D] x the vocabulary that bounds the logits alive at a time."""
    alive = logits_alive(hidden.device)
    width = min(head.vocabulary, max(_NARROWEST, alive // max(1, hidden.shape[0])))
    return _walk(hidden, head, temperature, alive // width, width)


def plan_kept(hidden: Tensor, head: Head, temperature: float) -> VocabularyTiling:
    """A walk whose blocks of rows, all about as long, are so short that a block's logits over the whole vocabulary
    may be kept: it is then the rows that are the outer loop."""
    on_cpu, count = hidden.device.type == "cpu", max(1, hidden.shape[0])
    kept, alive = (_KEPT_CPU, _KEPT_TILE_CPU) if on_cpu else (_KEPT_ACCELERATOR, _ALIVE_ACCELERATOR)
    blocks = -(-count // max(1, kept // head.vocabulary))
    step = -(-count // blocks)
    return _walk(hidden, head, temperature, step, max(_NARROWEST, alive // step))


def _walk(hidden: Tensor, head: Head, temperature: float, step: int, width: int) -> VocabularyTiling:
    count, step = hidden.shape[0], max(1, step)
    rows = [slice(start, min(start + step, count)) for start in range(0, max(1, count), step)]
    product = product_type(hidden, head.weight)
    return VocabularyTiling(
        head, hidden.to(product), head.shape(temperature), rows, min(width, head.vocabulary), product
    )


def _wide_product(left: Tensor, right: Tensor, dtype: torch.dtype) -> Tensor:
    """left @ right, summed and left in `dtype`: a logit of 20 rounded to bfloat16 could be off by 6 %, and a
    probability as much, where the rest of the vocabulary may hold less."""
    if left.dtype == dtype:
        return torch.mm(left, right)
    if left.device.type == "cuda" and dtype == torch.float32:
        return torch.mm(left, right, out_dtype=dtype)
    return torch.mm(left.to(dtype), right.to(dtype))
