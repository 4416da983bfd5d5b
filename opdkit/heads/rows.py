"""Logits of a few named ids a position: only those rows of the lm_head are read, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.head import Head, LogitShape, accumulate_type

# Elements of gathered weight rows alive at a time: what is larger only waits on memory.
_GATHERED = 2**20


def support_logits(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """Logits of K named ids at each of N positions, divided by the temperature; not normalised.

    hidden [N, D]; ids i64[N, K], each below head.vocabulary (IndexError otherwise). Returns f32[N, K]
    (f64 where an input is), differentiable in hidden, head.weight and head.bias. The products are
    accumulated in float32 whatever the weights are. Memory beside the gradients grows with N * K.
    """
    head.check_ids(ids)
    return _SupportLogits.apply(hidden, head.weight, head.bias, ids, head.shape(temperature))  # type: ignore[no-any-return]


class _SupportLogits(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, shape: LogitShape
    ) -> Tensor:
        logits = hidden.new_empty(ids.shape, dtype=accumulate_type(hidden, weight))
        for part in _parts(ids, weight):
            rows = _gather(weight, ids[part], logits.dtype)
            torch.bmm(rows, hidden[part].to(logits.dtype).unsqueeze(-1), out=logits[part].unsqueeze(-1))
        if bias is not None:
            logits += bias[ids]
        logits = shape.apply_(logits)
        ctx.save_for_backward(hidden, weight, bias, ids, logits)
        ctx.shape = shape
        return logits

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        hidden, weight, bias, ids, logits = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        gradient = ctx.shape.pull_back_(gradients[0].clone(), logits)
        for_hidden = torch.empty_like(hidden) if need_hidden else None
        for_weight = torch.zeros_like(weight) if need_weight else None
        for_bias = torch.zeros_like(bias) if need_bias else None
        if for_bias is not None:
            for_bias.index_add_(0, ids.flatten(), gradient.flatten().to(for_bias.dtype))
        for part in _parts(ids, weight) if need_hidden or need_weight else ():
            if for_hidden is not None:
                rows = _gather(weight, ids[part], gradient.dtype)
                for_hidden[part] = torch.bmm(gradient[part].unsqueeze(1), rows).squeeze(1).to(hidden.dtype)
            if for_weight is not None:
                outer = gradient[part].unsqueeze(-1) * hidden[part].to(gradient.dtype).unsqueeze(1)
                for_weight.index_add_(0, ids[part].flatten(), outer.flatten(0, 1).to(weight.dtype))
        return for_hidden, for_weight, for_bias, None, None


def _parts(ids: Tensor, weight: Tensor) -> list[slice]:
    count, width = ids.shape
    step = max(1, _GATHERED // max(1, width * weight.shape[1]))
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def _gather(weight: Tensor, ids: Tensor, dtype: torch.dtype) -> Tensor:
    return weight.index_select(0, ids.flatten()).to(dtype).view(*ids.shape, weight.shape[1])
