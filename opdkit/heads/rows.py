"""Logits of K given ids per position, reading only those rows of lm_head in forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.head import Head, LogitShape, accumulate_type, exact_products, uncompiled

# Maximum elements of gathered weight rows at a time: a CPU gains nothing from more, a GPU from fewer kernel launches.
_GATHERED_CPU = 2**19
_GATHERED_ACCELERATOR = 2**25
# Use a sparse gradient if the given ids, duplicates included, number at most 1 / _FEW_ROWS of the weight's rows.
_FEW_ROWS = 4
# torch 2.11 warns unless sparse-tensor checks are set explicitly; off is the default.
torch.sparse.check_sparse_tensor_invariants.disable()


@uncompiled
def support_logits(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """Unnormalised logits of K given ids at each of N positions, divided by the temperature.

    hidden [N, D]; ids i64[N, K], each below head.vocabulary (IndexError otherwise). Returns f32[N, K]
    (f64 where an input is), differentiable in hidden, head.weight and head.bias. The products are
    accumulated in float32 whatever the dtype of the weights. Memory besides the gradients is O(N * K).
    """
    head.check_ids(ids)
    shape = head.shape(temperature)
    return _SupportLogits.apply(hidden, head.weight, head.bias, ids, shape, head.tied)  # type: ignore[no-any-return]


class _SupportLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, shape: LogitShape, tied: bool
    ) -> Tensor:
        logits = hidden.new_empty(ids.shape, dtype=accumulate_type(hidden, weight))
        with exact_products(hidden):
            for part in _parts(ids, weight):
                gathered = _gather(weight, ids[part], logits.dtype)
                logits[part] = torch.bmm(gathered, hidden[part].to(logits.dtype).unsqueeze(-1)).squeeze(-1)
        if bias is not None:
            logits += bias[ids]
        logits = shape.apply_(logits)
        ctx.save_for_backward(hidden, weight, bias, ids, logits)
        ctx.shape, ctx.tied = shape, tied
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, weight, bias, ids, logits = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        gradient = ctx.shape.pull_back_(gradients[0].clone(), logits)
        for_hidden = torch.empty_like(hidden) if need_hidden else None
        rows = _RowGradient(weight, ids, gradient.dtype, ctx.tied) if need_weight else None
        for part in _parts(ids, weight) if need_hidden or need_weight else ():
            if for_hidden is not None:
                gathered = _gather(weight, ids[part], gradient.dtype)
                with exact_products(hidden):
                    for_hidden[part] = torch.bmm(gradient[part].unsqueeze(1), gathered).squeeze(1).to(hidden.dtype)
            if rows is not None:
                rows.add(part, gradient[part].unsqueeze(-1) * hidden[part].to(gradient.dtype).unsqueeze(1))
        for_bias = None
        if need_bias:
            for_bias = gradient.new_zeros(bias.shape).index_add_(0, ids.flatten(), gradient.flatten()).to(bias.dtype)
        return for_hidden, None if rows is None else rows.result(), for_bias, None, None, None


class _RowGradient:
    """The gradient of the gathered rows of a weight; contributions to the same id are summed in `dtype`.

    Dense, unless `tied` and few rows are gathered: then the embedding's dense gradient comes later, and autograd adds
    these rows to it in place, which saves a second dense tensor as large as the weight.
    An untied head's stays dense even if few rows are nonzero: AdamW's weight decay and moments update every row at
    every step, so a sparse gradient would change training or have to be densified for the optimiser.
    """

    def __init__(self, weight: Tensor, ids: Tensor, dtype: torch.dtype, tied: bool) -> None:
        self._rows, self._place, self._weight = None, ids, weight
        self._sparse = tied and ids.numel() <= weight.shape[0] // _FEW_ROWS
        if self._sparse or weight.dtype != dtype:  # half precision: accumulate separately, round once
            self._rows, self._place = ids.unique(return_inverse=True)
            self._sum = weight.new_zeros(len(self._rows), weight.shape[1], dtype=dtype)
        else:
            self._sum = torch.zeros_like(weight)

    def add(self, part: slice, outer: Tensor) -> None:
        """Add outer [n, K, D], the gradient of the rows ids[part]."""
        self._sum.index_add_(0, self._place[part].flatten(), outer.flatten(0, 1))

    def result(self) -> Tensor:
        """The gradient of the whole weight, in the weight's dtype."""
        if self._rows is None:
            return self._sum
        named = self._sum.to(self._weight.dtype)
        if self._sparse:
            return torch.sparse_coo_tensor(
                self._rows[None], named, self._weight.shape, is_coalesced=True, check_invariants=False
            )
        return torch.zeros_like(self._weight).index_copy_(0, self._rows, named)


def _parts(ids: Tensor, weight: Tensor) -> list[slice]:
    count, width = ids.shape
    gathered = _GATHERED_CPU if weight.device.type == "cpu" else _GATHERED_ACCELERATOR
    step = max(1, gathered // max(1, width * weight.shape[1]))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _gather(weight: Tensor, ids: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.index_select(0, ids.flatten()).to(dtype).view(*ids.shape, weight.shape[1])
