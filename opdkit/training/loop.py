"""The loop: one step after another, with its evaluations, checkpoints and endings."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from opdkit.diagnostics import TokenMeans, peak_rss_mib
from opdkit.errors import Interrupted, RunError
from opdkit.experiment import Experiment
from opdkit.runs import checkpoint
from opdkit.runs.folder import RunFolder
from opdkit.seeding import derive_seed
from opdkit.stopwatch import METRICS
from opdkit.training.collect import StepData
from opdkit.training.finite import place_of
from opdkit.training.session import Session, save_student
from opdkit.training.signals import StopRequest
from opdkit.training.steps import step_metrics
from opdkit.training.writing import mean, mini_batches

Metrics = dict[str, float]


@dataclass
class Progress:
    """Where a run stands: it goes into a checkpoint. step counts the steps that are done; broke, for the message, says
    where the student's scores were last no numbers."""

    step: int = 0
    bad_in_a_row: int = 0
    skipped_updates: int = 0
    broke: str = ""


@dataclass
class Loop:
    """Runs steps until the end, a signal, or too many bad steps.

    evaluate(step) -> metrics of the student as it stands; log(step, metrics, collected) keeps them;
    card(step) -> the text of the student's model card.
    """

    experiment: Experiment
    session: Session
    folder: RunFolder
    evaluate: Callable[[int], Metrics]
    log: Callable[[int, Metrics, Sequence[StepData]], None]
    card: Callable[[int], str]
    stop: StopRequest
    progress: Progress = field(default_factory=Progress)

    def run(self) -> None:
        """All the steps that are left."""
        while self.progress.step < self.experiment.steps:
            self.one()
            if self.stop.signal_number is not None:
                raise Interrupted(self.stop.signal_number)

    def one(self) -> None:
        """The next step."""
        METRICS.taken()
        started = time.perf_counter()
        step = self.progress.step
        torch.manual_seed(derive_seed(self.experiment.seed, "step", step))  # dropout; rollouts have their own seeds
        collected = self.session.collect(step)
        update_started = time.perf_counter()
        metrics = self._update(step, collected)
        ended = time.perf_counter()
        self.progress.step = step + 1
        metrics |= step_metrics(collected, metrics)
        tokens = sum(int(part.batch.rollout.sampled_mask.sum()) for part in collected)
        metrics |= {
            "time/update_s": ended - update_started,
            "perf/tokens_per_s": tokens / (ended - started),
            "perf/peak_rss_mib": peak_rss_mib(),
            "perf/teachers_mib": self.session.teachers_mebibytes(),
        }
        cadence = self.experiment.cadence
        last = self.progress.step == self.experiment.steps
        if not last and cadence.eval_every and self.progress.step % cadence.eval_every == 0:
            metrics |= self.evaluate(self.progress.step)
        self.log(self.progress.step, metrics, collected)
        self._require_finite(metrics)
        due = cadence.checkpoint_every and self.progress.step % cadence.checkpoint_every == 0
        if due or last or self.stop.signal_number is not None:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the run as it stands."""
        progress = self.progress
        state: Mapping[str, Any] = {
            "bad_in_a_row": progress.bad_in_a_row,
            "skipped_updates": progress.skipped_updates,
            "walks": self.session.walks(),
        }
        checkpoint.write(
            self.folder.checkpoints,
            progress.step,
            lambda beside: save_student(self.session, beside, self.card(progress.step)),
            self.session.updater.optimizer,
            state,
            self.experiment.cadence.keep_checkpoints,
        )

    def _update(self, step: int, collected: Sequence[StepData]) -> Metrics:
        """Every update on one rollout batch; their numbers averaged."""
        experiment = self.experiment
        lr = experiment.optimizer.lr_at(step, experiment.steps)
        means = TokenMeans()
        numbers: list[dict[str, float]] = []
        count = experiment.batch.mini_batches
        cuts = [mini_batches(part.written.sizes, count) for part in collected]
        self.session.student.module.train()
        for number in [*range(count)] * experiment.batch.epochs:
            rows = [cut[number] for cut in cuts]
            parts = [part.batch.cut(*at) for part, at in zip(collected, rows, strict=True) if at[0] < at[1]]
            if parts:
                numbers.append(self.session.updater.step(parts, lr, means))
                self._note_not_finite(step, rows[0][0])
        self.session.student.module.eval()
        skipped = sum(n["skipped"] for n in numbers)
        self.progress.skipped_updates += int(skipped)
        self.progress.bad_in_a_row = self.progress.bad_in_a_row + 1 if skipped == len(numbers) else 0
        averaged = {f"train/{name}": mean([n[name] for n in numbers]) for name in numbers[0] if name != "skipped"}
        loss_mask = sum(int(part.batch.loss_mask.sum()) for part in collected)
        sampled = sum(int(part.batch.rollout.sampled_mask.sum()) for part in collected)
        return {
            **averaged,
            "train/skipped_updates": float(self.progress.skipped_updates),
            **{f"opd/{name}": value for name, value in means.means().items()},
            "opd/masked_fraction": 1.0 - loss_mask / max(1, sampled),
        }

    def _note_not_finite(self, step: int, start: int) -> None:
        """Remember where the student first broke in this step; `start` is the mini-batch's first row."""
        found = self.session.updater.not_finite
        if found and not self.progress.broke.startswith(f"step {step + 1}:"):
            row, position = found[0]
            self.progress.broke = place_of((start + row, position), "the student's", step)
        found.clear()

    def _require_finite(self, metrics: Metrics) -> None:
        limit = self.experiment.max_bad_steps
        broke = f" ({self.progress.broke})" if self.progress.broke else ""
        if limit and self.progress.bad_in_a_row >= limit:
            raise RunError(
                f"step {self.progress.step}: the loss or its gradient was not finite for {limit} steps in a row "
                f"(loss {metrics['train/loss']}, gradient norm {metrics['train/grad_norm']}); no update was made "
                f"from them{broke}. Lower optim.lr, or clip_log_ratio where the objective has it"
            )
