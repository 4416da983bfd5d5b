"""A step's data of one term, before its first update."""

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
    """A step's data of one term of one task.

    Attributes:
        name: the task's name, empty for a single task.
        batch: this rank's rows with everything that is fixed before the first update.
        rollouts: all rows as generated.
        grades: one per row.
        rollout_seconds: time of generation and grading, 0 if the rollouts are shared with an earlier term of the step.
        teacher_seconds: time of masking and scoring.
        share: the rows of `batch`, and its mini-batches.
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
        """The text of each row."""
        return self.rollouts.responses

    def joined(self) -> StepData:
        """The same data with all rows of the step in `batch`, as needed for diagnostics and samples.

        Collective.
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
