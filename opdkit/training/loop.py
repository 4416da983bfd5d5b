"""The training loop with its evaluations, checkpoints and stopping conditions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch

from opdkit.diagnostics import TokenMeans, peak_rss_mib
from opdkit.errors import Interrupted, RunError, UserError
from opdkit.memory import MIB
from opdkit.runs import checkpoint
from opdkit.seeding import derive_seed
from opdkit.stopwatch import METRICS
from opdkit.training.finite import place_of
from opdkit.training.loop_settings import LoopSettings
from opdkit.training.session import Session
from opdkit.training.share import Share
from opdkit.training.signals import StopRequest
from opdkit.training.step_data import StepData
from opdkit.training.steps import step_metrics, update_metrics
from opdkit.training.watch import Watch

Metrics = dict[str, float]


@dataclass
class Progress:
    """The progress of a run, saved in checkpoints. step: the number of steps done. broke: where the student's scores
    were last non-finite, for the error message."""

    step: int = 0
    bad_in_a_row: int = 0
    skipped_updates: int = 0
    broke: str = ""


class Observer(Protocol):
    """Receives the events of the loop."""

    def evaluate(self, step: int) -> Metrics:
        """Evaluate the student after `step` steps. Returns its metrics."""
        ...

    def log(self, step: int, metrics: Metrics, data: Sequence[StepData]) -> Metrics:
        """Record the metrics and rollouts of step `step`, from 1. Returns the recorded metrics, on rank 0."""
        ...

    def keep_best(self, step: int, watch: Watch) -> None:
        """Save the student, which after `step` steps is the best so far. Collective."""
        ...

    def card(self, step: int) -> str:
        """The student's model card after `step` steps."""
        ...

    def saved(self, step: int, folder: Path) -> None:
        """The checkpoint after `step` steps is complete in `folder`."""
        ...


@dataclass
class Loop:
    """Runs steps until the last one, early stopping, a signal, or too many bad steps."""

    settings: LoopSettings
    session: Session
    checkpoints: Path
    observer: Observer
    stop: StopRequest
    watch: Watch = field(default_factory=Watch)
    progress: Progress = field(default_factory=Progress)

    def run(self) -> None:
        """Run all remaining steps."""
        while self.progress.step < self.settings.steps and not self.watch.stopped:
            stopped_by = self.one()
            if stopped_by:
                raise Interrupted(stopped_by)

    def one(self) -> int:
        """Run the next step. Returns the number of a stop signal received on any rank, 0 for none."""
        METRICS.taken()
        started = time.perf_counter()
        step = self.progress.step
        # The seed of dropout, different on each rank; rollouts have their own seeds.
        own = (self.session.world.rank,) if self.session.world.rank else ()
        torch.manual_seed(derive_seed(self.settings.seed, "step", step, *own))
        collected = self.session.collect(step)
        update_started = time.perf_counter()
        metrics = self._update(step, collected)
        ended = time.perf_counter()
        self.progress.step = step + 1
        metrics |= step_metrics(collected, metrics)
        tokens = sum(int(part.rollouts.rollout.sampled_mask.sum()) for part in collected)
        metrics |= self.session.waits()
        metrics |= {
            "time/update_s": ended - update_started,
            "perf/tokens_per_s": tokens / (ended - started),
            "perf/peak_rss_mib": self.session.world.max(peak_rss_mib()),
            "perf/teachers_mib": self.session.teacher_bytes() / MIB,
        }
        self.session.after_update(step)
        settings = self.settings
        last = self.progress.step == settings.steps
        if not last and settings.eval_every and self.progress.step % settings.eval_every == 0:
            metrics |= self.observer.evaluate(self.progress.step)
        logged = self.observer.log(self.progress.step, metrics, collected)
        self._require_finite(metrics)
        self._require_watched(logged)
        self.read(logged)
        due = settings.checkpoint_every and self.progress.step % settings.checkpoint_every == 0
        stopped_by = int(self.session.world.max(self.stop.signal_number or 0))
        if due or last or stopped_by or self.watch.stopped:
            self.save()
        return stopped_by

    def read(self, metrics: Metrics) -> None:
        """Compare the last step's metrics with earlier ones, and save its student if it is the best."""
        if self.watch.read(self.progress.step, self.session.world.from_main(lambda: metrics)):
            self.observer.keep_best(self.progress.step, self.watch)

    def save(self) -> None:
        """Write a checkpoint of the current state. Rank 0 writes; the others write their own shards, if any, and
        wait."""
        progress = self.progress
        state: Mapping[str, Any] = {
            "bad_in_a_row": progress.bad_in_a_row,
            "skipped_updates": progress.skipped_updates,
            "walks": self.session.samplers(progress.step),
            "watch": self.watch.state(),
        }
        session, keep = self.session, self.settings.keep_checkpoints
        content = checkpoint.Content(
            lambda beside: session.save(beside, self.observer.card(progress.step)),
            session.policy.optimizer,
            state,
            [teacher.state() for teacher in session.open_teachers()],
            session.policy.divided(),
        )
        folder = checkpoint.write(self.checkpoints, progress.step, content, keep, session.world)
        if session.world.main:
            self.observer.saved(progress.step, folder)

    def _update(self, step: int, data: Sequence[StepData]) -> Metrics:
        """Make all updates on one rollout batch. Returns their averaged metrics."""
        settings = self.settings
        lr = settings.optimizer.lr_at(step, settings.steps)
        means = TokenMeans()
        numbers: list[dict[str, float]] = []
        self.session.policy.model.module.train()
        for number in [*range(settings.mini_batches)] * settings.epochs:
            present = [part for part in data if part.share.present[number]]
            cuts = [(part, part.share.cuts[number]) for part in present]
            parts = [part.batch.rows(*at) for part, at in cuts if at[0] < at[1]]
            if present:
                names = [part.batch.term.name for part in present]
                numbers.append(self.session.updater.step(parts, lr, means, names))
                self._note_not_finite(step, data[0].share, number)
        self.session.policy.model.module.eval()
        skipped = sum(n["skipped"] for n in numbers)
        self.progress.skipped_updates += int(skipped)
        self.progress.bad_in_a_row = self.progress.bad_in_a_row + 1 if skipped == len(numbers) else 0
        averaged = update_metrics(numbers, several_terms=self.session.several_terms)
        world = self.session.world
        counted = int(world.sum(torch.tensor(sum(int(part.batch.loss_mask.sum()) for part in data))))
        sampled = sum(int(part.rollouts.rollout.sampled_mask.sum()) for part in data)
        return {
            **averaged,
            "train/skipped_updates": float(self.progress.skipped_updates),
            **{f"opd/{name}": value for name, value in means.means(world).items()},
            "opd/masked_fraction": 1.0 - counted / max(1, sampled),
        }

    def _note_not_finite(self, step: int, share: Share, number: int) -> None:
        """Record where the student's scores were first non-finite in this step, in mini-batch `number`."""
        found = self.session.updater.not_finite
        if found and not self.progress.broke.startswith(f"step {step + 1}:"):
            row, position = found[0]
            at = min(share.cuts[number][0] + row, len(share.rows) - 1)
            self.progress.broke = place_of((share.rows[at], position), "the student's", step)
        found.clear()

    def _require_watched(self, logged: Metrics) -> None:
        """Raises UserError after the first step if a watched metric does not exist."""
        missing = self.watch.missing(logged) if self.progress.step == 1 and self.session.schedule is None else None
        if self.session.world.from_main(lambda: missing):
            raise UserError("{}={}: step 1 has no such metric; metrics.jsonl has those it has".format(*(missing or "")))

    def _require_finite(self, metrics: Metrics) -> None:
        limit = self.settings.max_bad_steps
        if not (limit and self.progress.bad_in_a_row >= limit):
            return
        places = self.session.world.gathered(self.progress.broke)
        self.progress.broke = next((place for place in places if place), "")
        broke = f" ({self.progress.broke})" if self.progress.broke else ""
        raise RunError(
            f"step {self.progress.step}: the loss or its gradient was not finite for {limit} steps in a row "
            f"(loss {metrics['train/loss']}, gradient norm {metrics['train/grad_norm']}); no update was made "
            f"from them{broke}. Lower optim.lr, or clip_log_ratio where the objective has it"
        )
