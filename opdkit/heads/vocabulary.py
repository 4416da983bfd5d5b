"""A divergence over the whole vocabulary without the [N, V] log-probs: streamed forward, recomputed backward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.heads.gradients import HeadGradient
from opdkit.heads.head import Head, accumulate_type
from opdkit.heads.mass import Mass
from opdkit.heads.tiles import Tile, Walk, plan


class Divergence(Protocol):
    """D(p, q) = sum_v terms_v for student p and teacher q, of log-probs of any shape."""

    def terms(self, log_p: Tensor, log_q: Tensor, /) -> Tensor:
        """What each id adds to D."""
        ...

    def slope(self, log_p: Tensor, log_q: Tensor, /) -> Tensor:
        """d terms / d log p up to c p for a constant c; finite for finite inputs, 0 where p = q."""
        ...


def vocabulary_divergence(
    hidden: Tensor,
    head: Head,
    teacher_hidden: Tensor,
    teacher_head: Head,
    divergence: Divergence,
    temperature: float = 1.0,
    teacher_logsumexp: Tensor | None = None,
) -> Tensor:
    """sum_v terms(log p_v, log q_v) at each of N positions, p and q over the whole vocabulary at this temperature.

    hidden [N, D]; teacher_hidden [N, D'], D' of its own; both heads have the same `vocabulary` (ValueError
    otherwise; their padding may differ). teacher_logsumexp f32[N], at this temperature, spares the teacher a walk
    where it is known. Returns f32[N] in nats (f64 where an input is), differentiable in hidden, head.weight and
    head.bias; nothing of the teacher's gets a gradient. With z the student's logits, dD/dz_v =
    slope_v - p_v sum_w slope_w.
    """
    if head.vocabulary != teacher_head.vocabulary:
        raise ValueError(f"the vocabularies differ: student {head.vocabulary}, teacher {teacher_head.vocabulary}")
    if len(hidden) != len(teacher_hidden):
        raise ValueError(f"the positions differ: student {len(hidden)}, teacher {len(teacher_hidden)}")
    pair = _Pair(head, teacher_head, divergence, temperature)
    known = None if teacher_logsumexp is None else teacher_logsumexp.detach()
    return _VocabularyDivergence.apply(  # type: ignore[no-any-return]
        hidden, head.weight, head.bias, teacher_hidden.detach(), known, pair
    )


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two heads that are walked side by side, and what is asked of each pair of log-probs."""

    head: Head
    teacher_head: Head
    divergence: Divergence
    temperature: float


@dataclass(frozen=True, eq=False)
class _Walks:
    """The walks over both models: cut alike, as positions and vocabulary are the same."""

    student: Walk
    teacher: Walk

    def tiles(self) -> Iterator[tuple[Tile, Tile, slice]]:
        """Each tile of both, and each block of rows inside it."""
        for mine, theirs in zip(self.student.tiles(), self.teacher.tiles(), strict=True):
            for rows in self.student.rows:
                yield mine, theirs, rows


class _VocabularyDivergence(torch.autograd.Function):
    """Forward: the normalisers, then the value and the sum of the slopes; backward: once more, from these.

    weight and bias are arguments of their own so that autograd sees them; they are the student head's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        teacher_hidden: Tensor,
        teacher_logsumexp: Tensor | None,
        pair: _Pair,
    ) -> Tensor:
        walks = _walks(hidden, teacher_hidden, pair)
        normaliser = _logsumexp(walks.student)
        teacher_normaliser = _logsumexp(walks.teacher) if teacher_logsumexp is None else teacher_logsumexp
        value = torch.zeros_like(normaliser, dtype=torch.promote_types(normaliser.dtype, teacher_normaliser.dtype))
        slopes = torch.zeros_like(value)
        for mine, theirs, rows in walks.tiles():
            log_p = mine.logits(rows).sub_(normaliser[rows, None])
            log_q = theirs.logits(rows).sub_(teacher_normaliser[rows, None])
            value[rows] += pair.divergence.terms(log_p, log_q).sum(1)
            slopes[rows] += pair.divergence.slope(log_p, log_q).sum(1)
        ctx.save_for_backward(hidden, weight, bias, teacher_hidden, normaliser, teacher_normaliser, slopes)
        ctx.pair = pair
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, _, _, teacher_hidden, normaliser, teacher_normaliser, slopes = ctx.saved_tensors
        walks = _walks(hidden, teacher_hidden, ctx.pair)
        total = HeadGradient(walks.student, ctx.needs_input_grad[:3], normaliser.dtype)
        for mine, theirs, rows in walks.tiles():
            logits = mine.logits(rows)
            log_p = logits - normaliser[rows, None]
            log_q = theirs.logits(rows).sub_(teacher_normaliser[rows, None])
            # Not in place: what a divergence returns is its own.
            gradient = ctx.pair.divergence.slope(log_p, log_q) - log_p.exp_().mul_(slopes[rows, None])
            gradient.mul_(gradients[0][rows, None])
            total.add(mine, rows, walks.student.shape.pull_back_(gradient, logits))
        return *total.result(hidden), None, None, None


def _walks(hidden: Tensor, teacher_hidden: Tensor, pair: _Pair) -> _Walks:
    return _Walks(plan(hidden, pair.head, pair.temperature), plan(teacher_hidden, pair.teacher_head, pair.temperature))


def _logsumexp(walk: Walk) -> Tensor:
    """The normaliser of every row, [N]."""
    dtype = accumulate_type(walk.hidden, walk.head.weight)
    masses = [Mass(rows.stop - rows.start, walk.hidden.device, dtype) for rows in walk.rows]
    for tile in walk.tiles():
        for rows, mass in zip(walk.rows, masses, strict=True):
            mass.absorb(tile.logits(rows))
    return torch.cat([mass.logsumexp() for mass in masses])
