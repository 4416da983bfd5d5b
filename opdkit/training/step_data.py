"""What a step has of one term before its first update."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.scores import Scores
from opdkit.training.share import Share
from opdkit.training.sources import RolloutBatch
from opdkit.training.update import ScoredBatch


@dataclass(frozen=True)
class StepData:
    """What a step has of one term of one task.

    Attributes:
        name: the task's, empty where there is one only.
        batch: the rows with everything that is fixed before the first update.
        rollouts: the rows as they were written.
        grades: one a row.
        rollout_seconds: writing and grading, 0 where another term of the step shares the rollouts.
        teacher_seconds: masking and scoring.
        share: which of the rows `batch` holds, and where its mini-batches are.
    """

    name: str
    batch: ScoredBatch
    rollouts: RolloutBatch
    grades: tuple[Grade, ...]
    rollout_seconds: float
    teacher_seconds: float
    share: Share

    @property
    def responses(self) -> tuple[str, ...]:
        """One a row."""
        return self.rollouts.responses

    def joined(self) -> StepData:
        """The same with a batch of the whole step's rows, with what diagnostics and samples look at in it.

        All processes call it.
        """
        share, batch, whole = self.share, self.batch, self.rollouts.rollout
        if share.world.size == 1:
            return self

        def join(values: Tensor | None) -> Any:
            return share.joined(values, whole.tokens)

        own, teacher = batch.rollout, batch.teacher
        rollout = replace(whole, behaviour_log_prob=join(own.behaviour_log_prob), entropy=join(own.entropy))
        scores = Scores(join(teacher.sampled_log_prob), entropy=join(teacher.entropy), temperature=teacher.temperature)
        return replace(self, batch=replace(batch, rollout=rollout, loss_mask=join(batch.loss_mask), teacher=scores))
