"""Loss heads: ours, and the shape most projects use. Reverse KL, forward and backward, mean over positions."""

from __future__ import annotations

import torch
from torch import Tensor

from opdkit.bench.cases import HeadShape
from opdkit.bench.given import HeadInputs, inputs, run_head
from opdkit.bench.meter import Meter
from opdkit.heads import Head, support_logits, survey
from opdkit.objectives import TokenDivergence
from opdkit.types import Scores, TokenBatch


def support_given(shape: HeadShape, count: int) -> Meter:
    """Our head with the teacher's ids and logits at hand, as it stands after scoring."""
    given = inputs(shape)
    ids, logits = _teacher_support(given, shape)
    return run_head(given, lambda: _topk_loss(given, ids, logits), count)


def support_found(shape: HeadShape, count: int) -> Meter:
    """Our head with the teacher's top-K streamed first, so that the teacher's projection is counted too."""
    given = inputs(shape)
    return run_head(given, lambda: _topk_loss(given, *_teacher_support(given, shape)), count)


def _teacher_support(given: HeadInputs, shape: HeadShape) -> tuple[Tensor, Tensor]:
    head = Head(given.teacher_weight, None, 1.0, None, shape.vocabulary)
    found = survey(given.teacher_hidden, head, shape.k, temperature=1.0, entropy=False)
    assert found.ids is not None
    assert found.logits is not None
    return found.ids, found.logits


def _topk_loss(given: HeadInputs, ids: Tensor, teacher_logits: Tensor) -> Tensor:
    head = Head(given.student_weight, None, 1.0, None, given.student_weight.shape[0])
    logits = support_logits(given.student_hidden, head, ids, temperature=1.0)
    mask = torch.ones(1, len(ids), dtype=torch.bool, device=ids.device)
    student = Scores(support_ids=ids[None], support_logits=logits[None])
    teacher = Scores(support_ids=ids[None], support_logits=teacher_logits[None])
    objective = TokenDivergence(k=ids.shape[1], tail="renormalise")
    return objective(student, teacher, TokenBatch(mask=mask)).value.mean()
