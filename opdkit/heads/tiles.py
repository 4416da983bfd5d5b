"""Splits a product too large to keep, [N, V], into vocabulary tiles and row blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads.head import Head, LogitShape, accumulate_type, exact_products, product_type

# Maximum logits in memory at a time, whatever N and V: small for a CPU's cache, large to amortise kernel launches.
_ALIVE_CPU = 2**20
_ALIVE_ACCELERATOR = 2**25
_NARROWEST = 2**11
# Maximum logits of a row block over the whole vocabulary in `plan_kept` and, on an accelerator, `plan_rows`; a CPU
# computes them in tiles that fit its cache.
_KEPT_CPU, _KEPT_TILE_CPU = 2**24, 2**18
_KEPT_ACCELERATOR = 2**27


@dataclass(frozen=True)
class Tile:
    """The part of a pass over the vocabulary that covers ids start..stop."""

    start: int
    stop: int
    weight: Tensor
    bias: Tensor | None
    hidden: Tensor
    shape: LogitShape
    dtype: torch.dtype

    def logits(self, rows: slice) -> Tensor:
        """z / temperature of these rows and this tile's ids, [rows, W] in `dtype`. The caller may overwrite it."""
        with exact_products(self.hidden):
            product = _wide_product(self.hidden[rows], self.weight.t(), self.dtype)
        if self.bias is not None:
            product += self.bias
        return self.shape.apply_(product)


@dataclass(frozen=True)
class VocabularyTiling:
    """A pass over tiles of `width` ids and, within each, row blocks `rows` (slices of N); products are in `product`."""

    head: Head
    hidden: Tensor
    shape: LogitShape
    rows: list[slice]
    width: int
    product: torch.dtype

    def tiles(self) -> Iterator[Tile]:
        """The tiles of the vocabulary in ascending order of id."""
        head, dtype = self.head, accumulate_type(self.hidden, self.head.weight)
        for start in range(0, head.vocabulary, self.width):
            stop = min(start + self.width, head.vocabulary)
            bias = None if head.bias is None else head.bias[start:stop]
            weight = head.weight[start:stop].to(self.product)
            yield Tile(start, stop, weight, bias, self.hidden, self.shape, dtype)


def logits_alive(device: torch.device) -> int:
    """The maximum number of logits in memory during a pass of `plan` or `plan_rows`."""
    return _ALIVE_CPU if device.type == "cpu" else _KEPT_ACCELERATOR


def plan(hidden: Tensor, head: Head, temperature: float) -> VocabularyTiling:
    """A tiled pass over hidden [N, D] x the vocabulary that bounds the logits in memory at a time."""
    alive = _ALIVE_CPU if hidden.device.type == "cpu" else _ALIVE_ACCELERATOR
    width = min(head.vocabulary, max(_NARROWEST, alive // max(1, hidden.shape[0])))
    return _walk(hidden, head, temperature, alive // width, width)


def ranks_rows(device: torch.device, vocabulary: int) -> bool:
    """Whether finding the top logits of whole rows is faster than tile by tile. On a CPU, only if they are short."""
    return device.type != "cpu" or vocabulary <= _NARROWEST


def plan_rows(hidden: Tensor, head: Head, temperature: float) -> VocabularyTiling:
    """A pass over blocks of rows with their logits over the whole vocabulary."""
    return _walk(hidden, head, temperature, logits_alive(hidden.device) // head.vocabulary, head.vocabulary)


def plan_kept(hidden: Tensor, head: Head, temperature: float) -> VocabularyTiling:
    """A tiled pass with row blocks of about equal size, small enough that a block's logits over the whole vocabulary
    can be kept, so that the outer loop runs over the rows."""
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
    """left @ right, accumulated and returned in `dtype`: rounding a logit of 20 to bfloat16 would change its
    probability by up to 6 %, which may be more than the rest of the vocabulary holds."""
    if left.dtype == dtype:
        return torch.mm(left, right)
    if left.device.type == "cuda" and dtype == torch.float32:
        return torch.mm(left, right, out_dtype=dtype)
    return torch.mm(left.to(dtype), right.to(dtype))
