"""Accumulates the gradients of a head's inputs over vocabulary tiles."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opdkit.heads.head import exact_products
from opdkit.heads.tiles import Tile, VocabularyTiling


class HeadGradient:
    """Accumulates the per-tile, per-row-block gradients given to `add` into three dense gradients.

    needs: which of hidden [N, D], weight [R, D] and bias [R] need a gradient. Sums are accumulated in `dtype` and
    rounded once to the input's dtype. Padded rows of the weight get 0. Matrix products use `walk.product`.
    """

    def __init__(self, walk: VocabularyTiling, needs: Sequence[bool], dtype: torch.dtype) -> None:
        hidden, weight, bias = walk.hidden, walk.head.weight, walk.head.bias
        self._walk, self._dtype = walk, dtype
        self._hidden = torch.zeros_like(hidden, dtype=dtype) if needs[0] else None
        self._weight = torch.empty_like(weight) if needs[1] else None
        self._bias = torch.zeros_like(bias, dtype=dtype) if needs[2] and bias is not None else None
        self._part: Tensor | None = None
        if self._weight is not None:
            self._weight[walk.head.vocabulary :] = 0

    def add(self, tile: Tile, rows: slice, gradient: Tensor) -> None:
        """Add a tile's gradient for h . W_v + b_v, [rows, W]. A tile's row blocks must arrive in order and complete."""
        if self._bias is not None:
            self._bias[tile.start : tile.stop] += gradient.sum(0)
        gradient = gradient.to(self._walk.product)
        with exact_products(gradient):
            if self._hidden is not None:
                _add_product(self._hidden[rows], gradient, tile.weight)
            if self._weight is not None:
                self._add_weight(self._weight, tile, rows, gradient)

    def _add_weight(self, weight: Tensor, tile: Tile, rows: slice, gradient: Tensor) -> None:
        """Accumulate a tile's rows in place, or in a separate buffer if the weight has a narrower dtype."""
        if rows == self._walk.rows[0]:
            own = weight[tile.start : tile.stop]
            self._part = own if weight.dtype == self._dtype else torch.empty_like(own, dtype=self._dtype)
            self._part.zero_()
        assert self._part is not None
        _add_product(self._part, gradient.t(), self._walk.hidden[rows])
        if rows == self._walk.rows[-1] and weight.dtype != self._dtype:
            weight[tile.start : tile.stop] = self._part

    def result(self, hidden: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """The three gradients, None where not needed. `hidden` is the original input, for its dtype."""
        for_hidden = None if self._hidden is None else self._hidden.to(hidden.dtype)
        bias = self._walk.head.bias
        for_bias = None if self._bias is None or bias is None else self._bias.to(bias.dtype)
        return for_hidden, self._weight, for_bias


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if total.dtype == left.dtype:
        total.addmm_(left, right)
    else:
        total += torch.mm(left, right)
