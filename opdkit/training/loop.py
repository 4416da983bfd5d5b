"""Runs the training loop with its evaluations, checkpoints and endings."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from opdkit.diagnostics import TokenMeans, peak_rss_mib
from opdkit.errors import Interrupted, RunError
from opdkit.memory import MIB
from opdkit.runs import checkpoint
from opdkit.seeding import derive_seed
from opdkit.stopwatch import METRICS
from opdkit.training.collect import StepData
from opdkit.training.finite import place_of
from opdkit.training.loop_settings import LoopSettings
from opdkit.training.session import Session
from opdkit.training.signals import StopRequest
from opdkit.training.sources import mean, mini_batches
from opdkit.training.steps import step_metrics

Metrics = dict[str, float]


@dataclass
class Progress:
    """Where a run stands: it goes into a checkpoint. step counts the steps that are done; broke, for the message, says
    where the student's scores were last no numbers."""

    step: int = 0
    bad_in_a_row: int = 0
    skipped_updates: int = 0
    broke: str = ""


class Observer(Protocol):
    """What the loop tells of itself."""

    def evaluate(self, step: int) -> Metrics:
        """Metrics of the student after `step` steps."""
        ...

    def log(self, step: int, metrics: Metrics, data: Sequence[StepData]) -> None:
        """Keep the numbers and rollouts of step `step`, counted from 1."""
        ...

    def card(self, step: int) -> str:
        """The text of the student's model card after `step` steps."""
        ...

    def saved(self, step: int, folder: Path) -> None:
        """The checkpoint of `step` steps is whole and lies in `folder`."""
        ...


@dataclass
class Loop:
    """Runs steps until the end, a signal, or too many bad steps."""

    settings: LoopSettings
    session: Session
    checkpoints: Path
    observer: Observer
    stop: StopRequest
    progress: Progress = field(default_factory=Progress)

    def run(self) -> None:
        """All the steps that are left."""
        while self.progress.step < self.settings.steps:
            self.one()
            if self.stop.signal_number is not None:
                raise Interrupted(self.stop.signal_number)

    def one(self) -> None:
        """The next step."""
        METRICS.taken()
        started = time.perf_counter()
        step = self.progress.step
        torch.manual_seed(derive_seed(self.settings.seed, "step", step))  # dropout; rollouts have their own seeds
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
            "perf/teachers_mib": self.session.teacher_bytes() / MIB,
        }
        self.session.after_update(step)
        settings = self.settings
        last = self.progress.step == settings.steps
        if not last and settings.eval_every and self.progress.step % settings.eval_every == 0:
            metrics |= self.observer.evaluate(self.progress.step)
        self.observer.log(self.progress.step, metrics, collected)
        self._require_finite(metrics)
        due = settings.checkpoint_every and self.progress.step % settings.checkpoint_every == 0
        if due or last or self.stop.signal_number is not None:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the run as it stands."""
        progress = self.progress
        state: Mapping[str, Any] = {
            "bad_in_a_row": progress.bad_in_a_row,
            "skipped_updates": progress.skipped_updates,
            "walks": self.session.samplers(),
        }
        folder = checkpoint.write(
            self.checkpoints,
            progress.step,
            lambda beside: self.session.save(beside, self.observer.card(progress.step)),
            self.session.policy.optimizer,
            state,
            self.settings.keep_checkpoints,
            [teacher.state() for teacher in self.session.open_teachers()],
        )
        self.observer.saved(progress.step, folder)

    def _update(self, step: int, data: Sequence[StepData]) -> Metrics:
        """Every update on one rollout batch; their numbers averaged."""
        settings = self.settings
        lr = settings.optimizer.lr_at(step, settings.steps)
        means = TokenMeans()
        numbers: list[dict[str, float]] = []
        count = settings.mini_batches
        cuts = [mini_batches(part.rollouts.sizes, count) for part in data]
        self.session.policy.model.module.train()
        for number in [*range(count)] * settings.epochs:
            rows = [cut[number] for cut in cuts]
            parts = [part.batch.rows(*at) for part, at in zip(data, rows, strict=True) if at[0] < at[1]]
            if parts:
                numbers.append(self.session.updater.step(parts, lr, means))
                self._note_not_finite(step, rows[0][0])
        self.session.policy.model.module.eval()
        skipped = sum(n["skipped"] for n in numbers)
        self.progress.skipped_updates += int(skipped)
        self.progress.bad_in_a_row = self.progress.bad_in_a_row + 1 if skipped == len(numbers) else 0
        averaged = {f"train/{name}": mean([n[name] for n in numbers]) for name in numbers[0] if name != "skipped"}
        counted = sum(int(part.batch.loss_mask.sum()) for part in data)
        sampled = sum(int(part.batch.rollout.sampled_mask.sum()) for part in data)
        return {
            **averaged,
            "train/skipped_updates": float(self.progress.skipped_updates),
            **{f"opd/{name}": value for name, value in means.means().items()},
            "opd/masked_fraction": 1.0 - counted / max(1, sampled),
        }

    def _note_not_finite(self, step: int, start: int) -> None:
        """Remember where the student first broke in this step; `start` is the mini-batch's first row."""
        found = self.session.updater.not_finite
        if found and not self.progress.broke.startswith(f"step {step + 1}:"):
            row, position = found[0]
            self.progress.broke = place_of((start + row, position), "the student's", step)
        found.clear()

    def _require_finite(self, metrics: Metrics) -> None:
        limit = self.settings.max_bad_steps
        broke = f" ({self.progress.broke})" if self.progress.broke else ""
        if limit and self.progress.bad_in_a_row >= limit:
            raise RunError(
                f"step {self.progress.step}: the loss or its gradient was not finite for {limit} steps in a row "
                f"(loss {metrics['train/loss']}, gradient norm {metrics['train/grad_norm']}); no update was made "
                f"from them{broke}. Lower optim.lr, or clip_log_ratio where the objective has it"
            )
