"""Full-vocabulary log-probs without the [N, V] logits: streamed forward, recomputed backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.gradients import HeadGradient
from opdkit.heads.head import Head, accumulate_type
from opdkit.heads.mass import Mass
from opdkit.heads.tiles import Tile, plan


def sampled_log_prob(hidden: Tensor, head: Head, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(z / temperature) of one id at each of N positions, over the whole vocabulary.

    hidden [N, D]; ids i64[N], each below head.vocabulary (IndexError otherwise). Returns f32[N] (f64
    where an input is), differentiable in hidden, head.weight and head.bias.
    """
    head.check_ids(ids)
    normaliser, logit = _Normaliser.apply(hidden, head.weight, head.bias, ids, head, temperature)  # type: ignore[misc]
    return logit - normaliser


def logsumexp(hidden: Tensor, head: Head, temperature: float = 1.0) -> Tensor:
    """log sum_v exp(z_v / temperature) at each of N positions.

    hidden [N, D]. Returns f32[N] (f64 where an input is), differentiable in hidden, head.weight and head.bias.
    """
    normaliser, _ = _Normaliser.apply(hidden, head.weight, head.bias, None, head, temperature)  # type: ignore[misc]
    return normaliser


class _Normaliser(torch.autograd.Function):
    """(logsumexp, logit of one named id) from one walk; the backward walks once more.

    weight and bias are arguments of their own so that autograd sees them; they are head's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor | None,
        head: Head,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        walk, dtype = plan(hidden, head, temperature), accumulate_type(hidden, weight)
        masses = [Mass(rows.stop - rows.start, hidden.device, dtype) for rows in walk.rows]
        named = hidden.new_zeros(hidden.shape[0], dtype=dtype)
        for tile in walk.tiles():
            for rows, mass in zip(walk.rows, masses, strict=True):
                logits = tile.logits(rows)
                if ids is not None:
                    inside, column = _locate(ids[rows], tile)
                    named[rows] = torch.where(inside, logits.gather(1, column).squeeze(1), named[rows])
                mass.absorb(logits)
        normaliser = torch.cat([mass.logsumexp() for mass in masses])
        ctx.save_for_backward(hidden, weight, bias, ids, normaliser)
        ctx.head, ctx.temperature = head, temperature
        return normaliser, named

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        for_normaliser, for_named = gradients
        hidden, _, _, ids, normaliser = ctx.saved_tensors
        walk = plan(hidden, ctx.head, ctx.temperature)
        total = HeadGradient(walk, ctx.needs_input_grad[:3], normaliser.dtype)
        for tile in walk.tiles():
            for rows in walk.rows:
                logits = tile.logits(rows)
                gradient = (logits - normaliser[rows, None]).exp_().mul_(for_normaliser[rows, None])
                if ids is not None:
                    inside, column = _locate(ids[rows], tile)
                    gradient.scatter_add_(1, column, torch.where(inside, for_named[rows], 0.0)[:, None])
                total.add(tile, rows, walk.shape.pull_back_(gradient, logits))
        return *total.result(hidden), None, None, None


def _locate(ids: Tensor, tile: Tile) -> tuple[Tensor, Tensor]:
    """Which ids lie in the tile, bool[N], and each one's column there, i64[N, 1] (0 where it does not)."""
    inside = (ids >= tile.start) & (ids < tile.stop)
    return inside, torch.where(inside, ids - tile.start, 0).unsqueeze(1)
