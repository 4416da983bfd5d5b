"""Other projects' loss heads: reverse KL over the whole vocabulary."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks.given import inputs, run_head
from benchmarks.meter import Effort, Meter
from benchmarks.shapes import HeadShape


def chunked(shape: HeadShape, effort: Effort) -> Meter:
    """TRL 1.16's head, in tiles that are recomputed in backward."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction  # pyright: ignore[reportMissingImports]

    given = inputs(shape)

    def loss() -> Tensor:
        divergence, _ = ChunkedDivergenceFunction.apply(
            given.student_hidden, given.student_weight, None, given.teacher_hidden, given.teacher_weight, None, 1.0
        )
        return divergence.mean()

    return run_head(given, loss, effort)


def gkd(shape: HeadShape, effort: Effort) -> Meter:
    """The loss of TRL's GKDTrainer on both models' full logits, as in that trainer."""
    from trl.experimental.gkd import GKDTrainer  # pyright: ignore[reportMissingImports]

    given = inputs(shape)

    def loss() -> Tensor:
        with torch.no_grad():
            teacher = given.teacher_hidden @ given.teacher_weight.T
        student = given.student_hidden @ given.student_weight.T
        return GKDTrainer.generalized_jsd_loss(student, teacher, beta=1.0)

    return run_head(given, loss, effort)


def liger(shape: HeadShape, effort: Effort) -> Meter:
    """Liger's fused linear JSD without torch.compile (its default chunk of 1024 positions), reverse KL only."""
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss  # pyright: ignore[reportMissingImports]

    given = inputs(shape)
    head = LigerFusedLinearJSDLoss(weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0, compiled=False)
    labels = torch.zeros(shape.positions, dtype=torch.int64, device=given.student_hidden.device)

    def loss() -> Tensor:
        return head(given.student_hidden, given.student_weight, given.teacher_hidden, given.teacher_weight, labels)

    return run_head(given, loss, effort)
