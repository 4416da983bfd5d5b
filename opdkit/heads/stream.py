"""Full-vocabulary log-probs without the [N, V] logits: streamed forward, recomputed backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.head import Head, LogitShape, accumulate_type
from opdkit.heads.tiles import plan


def sampled_log_prob(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(z / temperature) of one id at each of N positions, over the whole vocabulary.

    hidden [N, D]; ids i64[N], each below head.vocabulary (IndexError otherwise). Returns f32[N] (f64
    where an input is), at most 0, differentiable in hidden, head.weight and head.bias.
    """
    if not torch.compiler.is_compiling() and ids.numel():
        low, high = int(ids.min()), int(ids.max())
        if low < 0 or high >= head.vocabulary:
            raise IndexError(f"sampled ids span {low}..{high}, the vocabulary is 0..{head.vocabulary - 1}")
    shape = head.shape(temperature)
    normaliser, logit = _Normaliser.apply(hidden, head.weight, head.bias, ids, shape, head.vocabulary)  # type: ignore[misc]
    return logit - normaliser


def logsumexp(hidden: Tensor, head: Head, temperature: float = 1.0) -> Tensor:
    """log sum_v exp(z_v / temperature) at each of N positions.

    hidden [N, D]. Returns f32[N] (f64 where an input is), differentiable in hidden, head.weight and head.bias.
    """
    shape = head.shape(temperature)
    normaliser, _ = _Normaliser.apply(hidden, head.weight, head.bias, None, shape, head.vocabulary)  # type: ignore[misc]
    return normaliser


class _Normaliser(torch.autograd.Function):
    """(logsumexp, logit of one named id), from one walk; the backward walks once more."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor | None,
        shape: LogitShape,
        vocabulary: int,
    ) -> tuple[Tensor, Tensor]:
        walk = plan(hidden, weight, bias, vocabulary)
        hidden_p = hidden.to(walk.product)
        count, dtype = hidden.shape[0], accumulate_type(hidden, weight)
        peak = hidden.new_full((count,), -torch.inf, dtype=dtype)
        total = hidden.new_zeros(count, dtype=dtype)
        named = hidden.new_zeros(count, dtype=dtype)
        for tile in walk.tiles():
            for rows in walk.rows:
                logits = tile.logits(hidden_p[rows], shape)
                if ids is not None:
                    inside, column = _locate(ids[rows], tile.start, tile.stop)
                    found = logits.gather(1, column).squeeze(1)
                    named[rows] = torch.where(inside, found, named[rows])
                higher = torch.maximum(peak[rows], logits.amax(1))
                share = logits.sub_(higher.unsqueeze(1)).exp_().sum(1)
                total[rows] = total[rows] * (peak[rows] - higher).exp() + share
                peak[rows] = higher
        normaliser = peak + total.log()
        ctx.save_for_backward(hidden, weight, bias, ids, normaliser)
        ctx.shape, ctx.vocabulary = shape, vocabulary
        return normaliser, named

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, for_normaliser: Tensor, for_named: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, ids, normaliser = ctx.saved_tensors
        need_hidden, need_weight, need_bias = ctx.needs_input_grad[:3]
        walk = plan(hidden, weight, bias, ctx.vocabulary)
        hidden_p, dtype = hidden.to(walk.product), normaliser.dtype
        for_hidden = torch.zeros_like(hidden, dtype=dtype) if need_hidden else None
        for_weight = torch.empty_like(weight) if need_weight else None
        for_bias = torch.zeros_like(bias) if need_bias else None
        if for_weight is not None:
            for_weight[ctx.vocabulary :] = 0
        for tile in walk.tiles():
            part = tile.weight.new_zeros(tile.weight.shape, dtype=dtype) if need_weight else None
            for rows in walk.rows:
                logits = tile.logits(hidden_p[rows], ctx.shape)
                gradient = (logits - normaliser[rows].unsqueeze(1)).exp_().mul_(for_normaliser[rows].unsqueeze(1))
                if ids is not None:
                    inside, column = _locate(ids[rows], tile.start, tile.stop)
                    gradient.scatter_add_(1, column, torch.where(inside, for_named[rows], 0.0).unsqueeze(1))
                gradient = ctx.shape.pull_back_(gradient, logits)
                if for_bias is not None:
                    for_bias[tile.start : tile.stop] += gradient.sum(0).to(for_bias.dtype)
                narrow = gradient.to(walk.product)
                if for_hidden is not None:
                    for_hidden[rows] += torch.mm(narrow, tile.weight)
                if part is not None:
                    part += torch.mm(narrow.t(), hidden_p[rows])
            if for_weight is not None and part is not None:
                for_weight[tile.start : tile.stop] = part
        for_hidden = None if for_hidden is None else for_hidden.to(hidden.dtype)
        return for_hidden, for_weight, for_bias, None, None, None


def _locate(ids: Tensor, start: int, stop: int) -> tuple[Tensor, Tensor]:
    """Which ids lie in start..stop, and each one's column [N, 1] there (0 where it does not)."""
    inside = (ids >= start) & (ids < stop)
    return inside, torch.where(inside, ids - start, 0).unsqueeze(1)
