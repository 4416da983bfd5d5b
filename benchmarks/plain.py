"""Updates without opdkit, for reference: the transformers alone, and the conventional top-K loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.meter import Effort, Meter, run_steps
from benchmarks.models import batch_of, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit import device

Loss = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""From the student's hidden states f32[B, T, D] and lm_head weight f32[V, D], and the teacher's."""


def body_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates without both heads: backward starts at the last hidden states."""
    return _updates(shape, effort, lambda student, _, teacher, __: (student * teacher).mean())


def logits_update(shape: UpdateShape, effort: Effort) -> Meter:
    """Updates on the teacher's top K of both models' full logits."""

    def loss(student: Tensor, weight: Tensor, teacher: Tensor, teacher_weight: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = (teacher @ teacher_weight.T).topk(shape.k, dim=-1)
        ours = (student @ weight.T).gather(-1, wanted.indices).log_softmax(-1)
        return (ours.exp() * (ours - wanted.values.log_softmax(-1))).sum(-1).mean()

    return _updates(shape, effort, loss)


def _updates(shape: UpdateShape, effort: Effort, loss: Loss) -> Meter:
    student, teacher = student_and_teacher(shape)
    weights = [model.get_output_embeddings().weight for model in (student, teacher)]
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-5, fused=True)
    batch = batch_of(shape)
    ids = torch.cat([batch.prompt, batch.response], 1)
    first = shape.prompt - 1

    def step() -> float:
        with torch.autocast(device.kind(), torch.bfloat16, enabled=shape.precision == "bfloat16"):
            with torch.no_grad():
                theirs = teacher.model(input_ids=ids, use_cache=False).last_hidden_state[:, first:-1]
            ours = student.model(input_ids=ids, use_cache=False).last_hidden_state[:, first:-1]
            value = loss(ours, weights[0], theirs, weights[1])
        value.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(value.detach())

    meter = Meter(student.parameters, effort)
    run_steps(meter, step)
    return meter
