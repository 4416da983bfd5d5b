"""Weights prompts by the student's pass rate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.functional.groups import group_sums


@dataclass(frozen=True)
class PassRate:
    """w = r^a (1 - r)^b for all rows of a prompt, r its pass rate in this step: lowest if all or none are correct.

    A response's pass is its grade's correctness, or, if the reward does not decide that, its reward clamped to [0, 1].
    A prompt without a known grade has weight 0. a = b = 0 gives every prompt weight 1.

    Source: PACED, 2026 (arXiv 2603.11178). Raises UserError on a value out of range.
    """

    a: float = 1.0
    b: float = 1.0

    def __post_init__(self) -> None:
        for name, value in (("a", self.a), ("b", self.b)):
            if not 0.0 <= value < float("inf"):
                raise UserError(f"curriculum.{name}={value}: must be at least 0, and finite")

    def weights(self, grades: Sequence[Grade], group: Tensor) -> Tensor:
        """f32[B]. grades: one per row; group: i64[B], equal for rows of one prompt."""
        known = torch.tensor([float(grade.counts) for grade in grades], device=group.device)
        passed = torch.tensor([_passed(grade) if grade.counts else 0.0 for grade in grades], device=group.device)
        summed = group_sums(group)
        count = summed(known)
        rate = summed(passed) / count.clamp(min=1.0)
        return (rate**self.a) * ((1.0 - rate) ** self.b) * (count > 0)


def _passed(grade: Grade) -> float:
    return float(grade.correct) if grade.correct is not None else min(1.0, max(0.0, grade.reward))
