"""The inputs of every loss head, and how it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.meter import Effort, Meter, run_steps
from benchmarks.shapes import HeadShape
from opdkit import device


@dataclass(frozen=True)
class HeadInputs:
    """Hidden states f32[N, D] and lm_head weights f32[V, D] of both models; the student's need gradients.

    tokens i64[N], the sampled ids.
    """

    student_hidden: Tensor
    student_weight: Tensor
    teacher_hidden: Tensor
    teacher_weight: Tensor
    tokens: Tensor

    def leaves(self) -> list[Tensor]:
        """The trained tensors."""
        return [self.student_hidden, self.student_weight]


def inputs(shape: HeadShape) -> HeadInputs:
    """Random inputs, identical for every contestant: unit hidden states, logits with standard deviation 2."""
    source = torch.Generator().manual_seed(17)
    spread = 2.0 / shape.width**0.5

    def draw(rows: int, scale: float) -> Tensor:
        return torch.randn(rows, shape.width, generator=source).mul_(scale).to(device.kind())

    student_hidden, teacher_hidden = draw(shape.positions, 1.0), draw(shape.positions, 1.0)
    student_weight, teacher_weight = draw(shape.vocabulary, spread), draw(shape.vocabulary, spread)
    tokens = torch.randint(shape.vocabulary, (shape.positions,), generator=source).to(device.kind())
    return HeadInputs(
        student_hidden.requires_grad_(), student_weight.requires_grad_(), teacher_hidden, teacher_weight, tokens
    )


def run_head(given: HeadInputs, loss: Callable[[], Tensor], effort: Effort) -> Meter:
    """Repeated forward and backward passes of `loss`."""
    meter = Meter(given.leaves, effort)

    def step() -> float:
        value = loss()
        value.backward()
        return float(value.detach())

    run_steps(meter, step)
    return meter


def full_logits(shape: HeadShape, effort: Effort) -> Meter:
    """Both models' logits in full, the teacher's top-K, and the student's logits gathered there."""
    given = inputs(shape)

    def loss() -> Tensor:
        with torch.no_grad():
            wanted = (given.teacher_hidden @ given.teacher_weight.T).topk(shape.k, dim=-1)
        student = (given.student_hidden @ given.student_weight.T).gather(-1, wanted.indices).log_softmax(-1)
        teacher = wanted.values.log_softmax(-1)
        return (student.exp() * (student - teacher)).sum(-1).mean()

    return run_head(given, loss, effort)
