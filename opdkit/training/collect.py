"""Before the first update of a step: rollout -> reward -> mask -> supports -> teacher scores."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.loss import Needs, StepBatch
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.experiment import Experiment
from opdkit.functional.layout import rows
from opdkit.masking import Vocabularies
from opdkit.models import LanguageModel, Scorer
from opdkit.seeding import derive_seed
from opdkit.teachers import LoadedTeacher, OffloadedTeacher
from opdkit.teachers.local import join_scores
from opdkit.training.finite import require_finite
from opdkit.training.requests import before_request, teacher_request
from opdkit.training.update import ScoredBatch
from opdkit.training.writing import RolloutBatch, RolloutSource

# Diagnostics of an objective without a support of its own look at this many of the teacher's best ids.
_WATCHED_SUPPORT = 32


@dataclass(frozen=True)
class StepData:
    """What was written in a step, scored, and what it took. name: the task's, empty where there is one only."""

    name: str
    batch: ScoredBatch
    written: RolloutBatch
    rollout_seconds: float
    teacher_seconds: float

    @property
    def grades(self) -> tuple[Grade, ...]:
        """One a row."""
        return self.written.grades

    @property
    def responses(self) -> tuple[str, ...]:
        """One a row."""
        return self.written.responses


@dataclass(frozen=True)
class RolloutCollector:
    """Has the rollouts of a step written, and scores them."""

    name: str
    experiment: Experiment
    accelerator: Accelerator
    student: LanguageModel
    teacher: LoadedTeacher | OffloadedTeacher
    writer: RolloutSource

    def collect(self, step: int) -> StepData:
        """The rollouts of step `step`, their rewards and the teacher's scores. No gradient is kept."""
        started = time.perf_counter()
        written = self.writer.write(step, self._author(step))
        ended = time.perf_counter()
        rollout = written.rollout
        vocabularies = Vocabularies(self.student.tokenizer, self.teacher.model.tokenizer)
        loss_mask = self.experiment.masking(rollout, vocabularies) & rollout.sampled_mask
        batch = self._score(step, written, loss_mask)
        return StepData(self.name, batch, written, ended - started, time.perf_counter() - ended)

    def _author(self, step: int) -> LanguageModel:
        """Who writes the rollouts of a step: the student, or in the other steps, off-policy, the teacher (GKD)."""
        drawn = derive_seed(self.experiment.seed, "writer", step) / 2**63
        return self.student if drawn < self.experiment.student_share else self.teacher.model

    @torch.no_grad()
    def _score(self, step: int, written: RolloutBatch, loss_mask: Tensor) -> ScoredBatch:
        experiment, rollout = self.experiment, written.rollout
        needs: Needs = experiment.objective.needs
        observed = self._observed(step, needs)
        ours = self._student_before(rollout, loss_mask, needs)
        teacher = self.teacher.score(
            rollout, loss_mask, teacher_request(needs, ours, observed), experiment.temperature,
            experiment.batch.micro_batch,
        )  # fmt: skip
        require_finite(teacher, loss_mask, f"the teacher's ({experiment.teacher.path})", step)
        old = None if ours is None else ours.sampled_log_prob
        advantage = None
        if needs.advantage:
            whole = StepBatch(loss_mask, old, teacher.sampled_log_prob, written.reward, written.group)
            advantage = experiment.objective.advantage(whole)  # type: ignore[attr-defined]
        kept = old if experiment.batch.updates > 1 else None
        return ScoredBatch(rollout, loss_mask, teacher, kept, written.reward, advantage, observed)

    def _observed(self, step: int, needs: Needs) -> int:
        """How many of its best ids each model tells this step; 0 when its vocabulary is not looked at."""
        if not self.experiment.cadence.observes(step):
            return 0
        return min(needs.k or _WATCHED_SUPPORT, self.student.vocabulary)

    def _needs_old(self, needs: Needs) -> bool:
        """Old log-probs are a pass of their own only where a later update starts from moved weights, or where the
        whole step is looked at before any update."""
        return (needs.old_log_prob and self.experiment.batch.updates > 1) or needs.advantage

    def _student_before(self, rollout: Rollout, loss_mask: Tensor, needs: Needs) -> Scores | None:
        request = before_request(needs, self._needs_old(needs))
        if request is None:
            return None
        scorer, size, width = Scorer(self.student), self.experiment.batch.micro_batch, loss_mask.shape[1]
        parts: list[Scores] = []
        for start in range(0, len(loss_mask), size):
            part = rows(rollout, start, start + size)
            mask = loss_mask[start : start + size, : part.tokens.shape[1]]
            with self.accelerator.autocast():
                parts.append(scorer(part, mask, request, self.experiment.temperature))
        return join_scores(parts, width)
