"""Full-vocabulary log-probs without the [N, V] logits: streamed in the forward, recomputed in the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.gradients import HeadGradient
from opdkit.heads.head import Head, accumulate_type, uncompiled
from opdkit.heads.online_logsumexp import OnlineLogSumExp
from opdkit.heads.tiles import Tile, plan


@uncompiled
def sampled_log_prob(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(z / temperature) of one id at each of N positions, over the whole vocabulary.

    hidden [N, D]; ids i64[N], each below head.vocabulary (IndexError otherwise). Returns f32[N] (f64
    where an input is), differentiable in hidden, head.weight and head.bias.
    """
    logits, normaliser = support_with_logsumexp(hidden, head, ids[:, None], temperature)
    return logits[:, 0] - normaliser


@uncompiled
def logsumexp(hidden: Tensor, head: Head, temperature: float = 1.0) -> Tensor:
    """log sum_v exp(z_v / temperature) at each of N positions.

    hidden [N, D]. Returns f32[N] (f64 where an input is), differentiable in hidden, head.weight and head.bias.
    """
    none = torch.empty(hidden.shape[0], 0, dtype=torch.int64, device=hidden.device)
    return support_with_logsumexp(hidden, head, none, temperature)[1]


@uncompiled
def support_with_logsumexp(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits of K given ids at each of N positions, and their normaliser: `support_logits` and `logsumexp` in one.

    One pass over the vocabulary, and one dense gradient of the weight instead of two. hidden [N, D]; ids
    i64[N, K], each below head.vocabulary (IndexError otherwise), K = 0 included. Returns f32[N, K] and f32[N] (f64
    where an input is), divided by the temperature, differentiable in hidden, head.weight and head.bias.
    """
    head.check_ids(ids)
    return _Named.apply(hidden, head.weight, head.bias, ids, head, temperature)  # type: ignore[no-any-return]


class _Named(torch.autograd.Function):
    """Logits of given ids and logsumexp in one pass over the vocabulary; the backward makes one more.

    weight and bias are the head's, passed separately so that autograd tracks them.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, ids: Tensor, head: Head, temperature: float
    ) -> tuple[Tensor, Tensor]:
        walk, dtype = plan(hidden, head, temperature), accumulate_type(hidden, weight)
        masses = [OnlineLogSumExp(rows.stop - rows.start, hidden.device, dtype) for rows in walk.rows]
        named = hidden.new_zeros(ids.shape, dtype=dtype)
        for tile in walk.tiles():
            for rows, mass in zip(walk.rows, masses, strict=True):
                logits = tile.logits(rows)
                inside, column = _locate(ids[rows], tile)
                named[rows] = torch.where(inside, logits.gather(1, column), named[rows])
                mass.absorb(logits)
        normaliser = torch.cat([mass.logsumexp() for mass in masses])
        ctx.save_for_backward(hidden, weight, bias, ids, normaliser)
        ctx.head, ctx.temperature = head, temperature
        return named, normaliser

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for_named, for_normaliser = gradients
        hidden, _, _, ids, normaliser = ctx.saved_tensors
        walk = plan(hidden, ctx.head, ctx.temperature)
        total = HeadGradient(walk, ctx.needs_input_grad[:3], normaliser.dtype)
        for tile in walk.tiles():
            for rows in walk.rows:
                logits = tile.logits(rows)
                gradient = (logits - normaliser[rows, None]).exp_().mul_(for_normaliser[rows, None])
                inside, column = _locate(ids[rows], tile)
                gradient.scatter_add_(1, column, torch.where(inside, for_named[rows], 0.0))
                total.add(tile, rows, walk.shape.pull_back_(gradient, logits))
        return *total.result(hidden), None, None, None


def _locate(ids: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Which of ids [n, K] lie in the tile, bool[n, K], and their columns in it, i64[n, K] (0 elsewhere)."""
    inside = (ids >= tile.start) & (ids < tile.stop)
    return inside, torch.where(inside, ids - tile.start, 0)
