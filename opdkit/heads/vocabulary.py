"""A divergence over the whole vocabulary, streamed without the [N, V] log-probs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from opdkit.functional.divergences import Divergence
from opdkit.heads.gradients import HeadGradient
from opdkit.heads.head import Head, accumulate_type, uncompiled
from opdkit.heads.online_logsumexp import OnlineLogSumExp
from opdkit.heads.tiles import VocabularyTiling, plan, plan_kept


@uncompiled
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

    hidden [N, D]; teacher_hidden [N, D'], D' may differ from D; both heads must have the same `vocabulary`
    (ValueError otherwise), though their padding may differ. teacher_logsumexp f32[N], at this temperature, saves a pass
    over the teacher's logits. Returns f32[N] in nats (f64 where an input is), differentiable in hidden, head.weight and
    head.bias; the teacher gets no gradient. With z the student's logits, dD/dz_v = slope_v - p_v sum_w slope_w.
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
    """The two heads to compare, the divergence and the temperature."""

    head: Head
    teacher_head: Head
    divergence: Divergence
    temperature: float


class _VocabularyDivergence(torch.autograd.Function):
    """Forward: a block of rows at a time, keeping its logits until the normalisers are known. Backward: one more pass
    over tiles of the vocabulary. Four matrix products, plus two for the gradients.

    weight and bias are the student head's, passed separately so that autograd tracks them.
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
        walk = plan_kept(hidden, pair.head, pair.temperature)
        teacher_walk = plan_kept(teacher_hidden, pair.teacher_head, pair.temperature)
        blocks: list[tuple[Tensor, ...]] = []
        for rows in walk.rows:
            student = _Logits(walk, rows, None)
            teacher = _Logits(teacher_walk, rows, None if teacher_logsumexp is None else teacher_logsumexp[rows])
            compared = _compare(student, teacher, pair.divergence)
            blocks.append((*compared, student.normaliser, teacher.normaliser))
        value, slopes, normaliser, teacher_normaliser = (torch.cat(column) for column in zip(*blocks, strict=True))
        ctx.save_for_backward(hidden, weight, bias, teacher_hidden, normaliser, teacher_normaliser, slopes)
        ctx.pair = pair
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        hidden, _, _, teacher_hidden, normaliser, teacher_normaliser, slopes = ctx.saved_tensors
        pair = ctx.pair
        walk = plan(hidden, pair.head, pair.temperature)
        teacher_walk = plan(teacher_hidden, pair.teacher_head, pair.temperature)
        total = HeadGradient(walk, ctx.needs_input_grad[:3], normaliser.dtype)
        for tile, teacher_tile in zip(walk.tiles(), teacher_walk.tiles(), strict=True):
            for rows in walk.rows:
                logits = tile.logits(rows)
                log_p = logits - normaliser[rows, None]
                log_q = teacher_tile.logits(rows).sub_(teacher_normaliser[rows, None])
                slope = pair.divergence.slope(log_p, log_q)
                gradient = torch.addcmul(slope, log_p.exp_(), slopes[rows, None], value=-1.0)
                gradient.mul_(gradients[0][rows, None])
                total.add(tile, rows, walk.shape.pull_back_(gradient, logits))
        return *total.result(hidden), None, None, None


class _Logits:
    """A row block's logits over the whole vocabulary, as tiles [n, W], and its logsumexp [n], computed unless known."""

    def __init__(self, walk: VocabularyTiling, rows: slice, known: Tensor | None) -> None:
        dtype = accumulate_type(walk.hidden, walk.head.weight)
        mass = OnlineLogSumExp(rows.stop - rows.start, walk.hidden.device, dtype)
        self.tiles: list[Tensor] = []
        for tile in walk.tiles():
            self.tiles.append(tile.logits(rows))
            if known is None:
                mass.absorb(self.tiles[-1].clone())
        self.normaliser = mass.logsumexp() if known is None else known


def _compare(student: _Logits, teacher: _Logits, divergence: Divergence) -> tuple[Tensor, Tensor]:
    """The sums of terms and of slopes, [n] each. Overwrites the logits."""
    values: list[Tensor] = []
    slopes: list[Tensor] = []
    for mine, theirs in zip(student.tiles, teacher.tiles, strict=True):
        log_p, log_q = mine.sub_(student.normaliser[:, None]), theirs.sub_(teacher.normaliser[:, None])
        values.append(divergence.terms(log_p, log_q).sum(1))
        slopes.append(divergence.slope(log_p, log_q).sum(1))
    return torch.stack(values).sum(0), torch.stack(slopes).sum(0)
