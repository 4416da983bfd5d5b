"""opdkit's loss heads by objective, from hidden states to gradients, by the same code path as training."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import objectives
from benchmarks.given import inputs, run_head
from benchmarks.meter import Effort, Meter
from benchmarks.shapes import HeadShape
from opdkit.data.loss import Objective, TokenBatch
from opdkit.data.scores import Scores
from opdkit.heads import Head
from opdkit.models.scorer import score_hidden
from opdkit.training.requests import student_request, teacher_request


def support_given(shape: HeadShape, effort: Effort) -> Meter:
    """Top K with the teacher's ids and logits already computed, as after scoring."""
    return _measure(shape, effort, objectives.topk(shape.k), teacher_at_hand=True)


def support_found(shape: HeadShape, effort: Effort) -> Meter:
    """Top K with the teacher's top ids streamed first, including the teacher's projection."""
    return _measure(shape, effort, objectives.topk(shape.k))


def sampled(shape: HeadShape, effort: Effort) -> Meter:
    """The sampled token, including the teacher's log-prob of it."""
    return _measure(shape, effort, objectives.sampled(shape.k))


def bucket(shape: HeadShape, effort: Effort) -> Meter:
    """Top K and a tail bucket, with the teacher's top ids streamed first."""
    return _measure(shape, effort, objectives.bucket(shape.k))


def full(shape: HeadShape, effort: Effort) -> Meter:
    """The whole vocabulary of both models."""
    return _measure(shape, effort, objectives.full(shape.k))


def _measure(shape: HeadShape, effort: Effort, objective: Objective, teacher_at_hand: bool = False) -> Meter:
    given, needs = inputs(shape), objective.needs
    student_head = Head(given.student_weight, vocabulary=shape.vocabulary)
    teacher_head = Head(given.teacher_weight, vocabulary=shape.vocabulary)
    tokens = given.tokens[None]
    place = (torch.zeros_like(given.tokens), torch.arange(shape.positions, device=tokens.device))
    batch = TokenBatch(torch.ones_like(tokens, dtype=torch.bool), tokens=tokens)

    @torch.no_grad()
    def teacher() -> Scores:
        return score_hidden(given.teacher_hidden, teacher_head, tokens, place, teacher_request(needs, None, 0), 1.0)

    at_hand = teacher() if teacher_at_hand else None

    def loss() -> Tensor:
        theirs = at_hand or teacher()
        request = student_request(needs, theirs, 0)
        ours = score_hidden(given.student_hidden, student_head, tokens, place, request, 1.0)
        return objective(ours, theirs, batch).value.mean()

    return run_head(given, loss, effort)
