"""Profiles a few rollouts, the memory of a micro-batch and a real step, for the cost estimate."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from opdkit import device
from opdkit.diagnostics import TokenMeans
from opdkit.doctor.cost import ActivationBytes, Cost, Shapes, Timings, compared, estimate, estimated, too_large
from opdkit.doctor.report import Section
from opdkit.generation import Ask, HFEngine
from opdkit.heads.tiles import logits_alive
from opdkit.memory import MIB, Peak, release_freed_pages, resident_mib
from opdkit.seeding import derive_seed
from opdkit.training.collect import RolloutCollector
from opdkit.training.experiment import Experiment
from opdkit.training.loop import Loop
from opdkit.training.session import Session
from opdkit.training.signals import StopRequest
from opdkit.training.sources import AnswerSource, StepSize
from opdkit.training.step_data import StepData
from opdkit.training.tasks import TaskRun
from opdkit.training.update import ScoredBatch
from opdkit.training.watch import Watch

# Maximum number of timed rollouts (at most a mini-batch), and of decoding steps used to time one.
_MOST = 16
_DECODED = 16


@dataclass(frozen=True)
class StepProfile:
    """Profiles the single task of a session. Only `measured`, which runs last, changes weights."""

    session: Session
    task: TaskRun
    experiment: Experiment

    def estimated(self) -> tuple[Section, Cost | None]:
        """The section, and the estimate if the models leave memory for one."""
        shapes, room = self._shapes(), _room()
        process = self._held()
        found = too_large(shapes, process, room)
        if found is not None:
            return found, None
        collected = self._collector().collect(0)[0]
        kept = self._keeps(collected.batch, self._held())
        peak = Peak()
        peak.start()
        timed = self._timed(collected)
        kept = replace(kept, seen=round(peak.stop() * MIB))
        return estimated(shapes, timed, kept, room), estimate(shapes, timed, kept)

    def measured(self, guess: Cost) -> Section:
        """Compares the estimate with the run's real first step."""
        settings = self.experiment.looping()
        open_ended = replace(
            settings, eval_every=0, checkpoint_every=0, steps=settings.steps + 1
        )  # the last step saves
        recorder = _MetricsRecorder()
        loop = Loop(open_ended, self.session, Path("never-made"), recorder, StopRequest())
        release_freed_pages()
        peak = Peak()
        peak.start()
        loop.one()
        most = peak.stop()
        times = (recorder.metrics[f"time/{name}_s"] for name in ("rollout", "teacher", "update"))
        return compared(guess, Cost(*times, peak=round(most * MIB)))

    def _shapes(self) -> Shapes:
        experiment, student = self.experiment, self.session.policy.model
        rollout, batch = experiment.rollout, experiment.batch
        limit = rollout.max_prompt_tokens + rollout.max_new_tokens
        longest = Ask((0,) * rollout.max_prompt_tokens, 0, rollout.max_new_tokens)
        engine = rollout.in_process().open(student)
        at_once = min(batch.rollouts, engine.rows_at_once(longest) if isinstance(engine, HFEngine) else batch.rollouts)
        learnt = [p for p in student.module.parameters() if p.requires_grad]
        return Shapes(
            student=_bytes(student.module.parameters()),
            teacher=0 if self.task.teacher is None else self.task.teacher.bytes(),
            trainable=_bytes(learnt),
            largest=max(_bytes([p]) for p in learnt),
            cache_row=limit * student.cache_bytes,
            rows_at_once=at_once,
            limit=limit,
            batch=batch,
            steps=experiment.steps,
        )

    def _held(self) -> int:
        release_freed_pages()
        return round(resident_mib() * MIB)

    def _collector(self) -> RolloutCollector:
        """A collector of one mini-batch, generated and scored as in a step; the run's data position is unchanged."""
        collector, copies = self.task.collector, self.experiment.batch.rollouts_per_prompt
        size = StepSize(max(1, min(self.experiment.batch.mini_batch, _MOST) // copies), copies)
        return replace(collector, source=collector.source.restarted(size, self.experiment.seed))

    def _keeps(self, batch: ScoredBatch, process: int) -> ActivationBytes:
        """Activation memory of one forward pass, on the micro-batch with the longest rows."""
        cuts = self.experiment.batch.pass_size.cuts(batch.rollout)
        parts = [batch.rows(start, stop) for start, stop in cuts]
        widest = max(parts, key=_width)
        counter = KeptTensors(self.session.policy.model.module)
        self.session.policy.model.module.train()
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda kept: kept):
            self.session.updater.weighted_loss(widest, widest.term.aggregation.denominator(widest.loss_mask))
        self.session.policy.model.module.eval()
        student, positions = self.session.policy.model, int(widest.loss_mask.sum())
        logits = 4 * min(logits_alive(student.device), positions * student.vocabulary)
        sizes = counter.sizes.values()
        return ActivationBytes(sum(sizes), max(sizes, default=0), logits, _width(widest), process, seen=0)

    def _timed(self, collected: StepData) -> Timings:
        lengths = tuple(int(n) for n in collected.batch.rollout.sampled_mask.sum(dim=1))
        updater, module = self.session.updater, self.session.policy.model.module
        again = self._collector().collect(0)[0]  # the first was a warm-up
        few, many = len(lengths), max(len(lengths), self._shapes().rows_at_once)
        points = ((few, self._decoding(few)), (many, self._decoding(many)))

        def update() -> None:
            updater.step([collected.batch], 0.0, TokenMeans())  # learning rate 0: weights do not change

        module.train()
        update()  # the first creates the optimiser state
        seconds = _seconds(update)
        module.eval()
        return Timings(lengths, again.rollout_seconds, again.teacher_seconds, seconds, points)

    def _decoding(self, rows: int) -> float:
        """Seconds per decoding step with `rows` rows, from two short rollouts of different lengths."""
        experiment = self.experiment
        source = self.task.collector.source.restarted(StepSize(rows, 1), experiment.seed)
        assert isinstance(source, AnswerSource)
        problems = source.stream.take(rows)
        engine = experiment.rollout.in_process().open(self.session.policy.model)

        def write(tokens: int) -> float:
            asks = [
                Ask(tuple(ids), derive_seed(experiment.seed, "costing", row), tokens)
                for row, (_, ids) in enumerate(problems)
            ]
            return _seconds(lambda: engine.generate(asks, source.sampling))

        steps = min(_DECODED, max(1, experiment.rollout.max_new_tokens - 1))
        return max(0.0, write(1 + steps) - write(1)) / steps


class _MetricsRecorder:
    """Records the metrics of the single step. See `opdkit.training.loop.Observer`."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def evaluate(self, step: int) -> dict[str, float]:
        """Does nothing."""
        return {}

    def log(self, step: int, metrics: dict[str, float], data: Sequence[StepData]) -> dict[str, float]:
        """Records the metrics."""
        self.metrics |= metrics
        return metrics

    def keep_best(self, step: int, watch: Watch) -> None:
        """Does nothing."""

    def card(self, step: int) -> str:
        """Does nothing."""
        return ""

    def saved(self, step: int, folder: Path) -> None:
        """Does nothing."""


class KeptTensors:
    """Measures the storages that autograd saves for backward, not counting parameters."""

    def __init__(self, module: nn.Module) -> None:
        self._parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
        self.sizes: dict[int, int] = {}

    def pack(self, kept: Tensor) -> Tensor:
        """Called by autograd with each saved tensor."""
        storage = kept.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return kept


def _width(batch: ScoredBatch) -> int:
    """Length of the longest prompt plus the longest response, in tokens."""
    return int(batch.rollout.prompts.ids.shape[1] + batch.rollout.tokens.shape[1])


def _bytes(parameters: Any) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _room() -> int:
    """Bytes available to this process: free memory plus what it already holds."""
    if device.uses_cuda():
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_allocated()
    return int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)


def _seconds(work: Callable[[], object]) -> float:
    device.synchronize()
    started = time.perf_counter()
    work()
    device.synchronize()
    return time.perf_counter() - started
