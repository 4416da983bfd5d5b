"""Times a few rollouts, weighs a micro-batch, and takes a real step, for the doctor's estimate of what a step costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from opdkit.diagnostics import TokenMeans
from opdkit.doctor.cost import ActivationBytes, Cost, Shapes, Timings, compared, estimate, estimated, too_large
from opdkit.doctor.report import Section
from opdkit.heads.tiles import logits_alive
from opdkit.memory import MIB, Peak, release_freed_pages, resident_mib
from opdkit.runs.folder import RunFolder
from opdkit.seeding import derive_seed
from opdkit.training.collect import RolloutCollector, StepData
from opdkit.training.loop import Loop
from opdkit.training.parts import TaskRun
from opdkit.training.session import Session
from opdkit.training.signals import StopRequest
from opdkit.training.update import ScoredBatch
from opdkit.training.writing import AnswerSource

# Rollouts that are timed: a mini-batch, but no more than these. Decoding steps that tell what one costs.
_MOST = 16
_DECODED = 16


@dataclass(frozen=True)
class StepProfile:
    """Knows the one task of a session. Weights are moved by `measured` alone, which comes last."""

    session: Session
    part: TaskRun

    def estimated(self) -> tuple[Section, Cost | None]:
        """The section, and the estimate where the models leave room for one."""
        shapes, room = self._shapes(), _room()
        process = self._held()
        found = too_large(shapes, process, room)
        if found is not None:
            return found, None
        collected = self._collector().collect(0)
        kept = self._keeps(collected.batch, self._held())
        peak = Peak()
        peak.start()
        timed = self._timed(collected)
        kept = replace(kept, seen=round(peak.stop() * MIB))
        return estimated(shapes, timed, kept, room), estimate(shapes, timed, kept)

    def measured(self, guess: Cost) -> Section:
        """The estimate beside the run's first step, taken for real."""
        experiment = self.part.experiment
        cadence = replace(experiment.cadence, eval_every=0, checkpoint_every=0)
        open_ended = replace(experiment, cadence=cadence, steps=experiment.steps + 1)  # the last step writes files
        told: dict[str, float] = {}
        loop = Loop(
            open_ended, self.session, RunFolder(Path("never-made")), evaluate=lambda step: {},
            log=lambda step, metrics, collected: told.update(metrics), card=lambda step: "", stop=StopRequest(),
        )  # fmt: skip
        release_freed_pages()
        peak = Peak()
        peak.start()
        loop.one()
        most = peak.stop()
        times = (told[f"time/{name}_s"] for name in ("rollout", "teacher", "update"))
        return compared(guess, Cost(*times, peak=round(most * MIB)))

    def _shapes(self) -> Shapes:
        experiment, student = self.part.experiment, self.session.student
        rollout, batch = experiment.rollout, experiment.batch
        limit = rollout.max_prompt_tokens + rollout.max_new_tokens
        at_once = min(batch.rollouts, rollout.rows_at_once(student, rollout.max_prompt_tokens))
        learnt = [p for p in student.module.parameters() if p.requires_grad]
        return Shapes(
            student=_bytes(student.module.parameters()),
            teacher=_bytes(self.part.teacher.model.module.parameters()),
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
        """Of a mini-batch of rollouts, written and scored as a step does it; the run's own walk stays where it is."""
        experiment, collector = self.part.experiment, self.part.collector
        copies = experiment.batch.rollouts_per_prompt
        prompts = max(1, min(experiment.batch.mini_batch, _MOST) // copies)
        count = prompts * copies
        batch = replace(experiment.batch, prompts=prompts, mini_batch=count)
        small = replace(experiment, batch=batch)
        return replace(collector, experiment=small, writer=collector.writer.from_the_start(small, experiment.seed))

    def _keeps(self, batch: ScoredBatch, process: int) -> ActivationBytes:
        """What one forward pass keeps: that of the micro-batch with the longest rows."""
        size = self.part.experiment.batch.micro_batch
        parts = [batch.cut(start, start + size) for start in range(0, len(batch.loss_mask), size)]
        widest = max(parts, key=_width)
        counter = KeptTensors(self.session.student.module)
        self.session.student.module.train()
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda kept: kept):
            self.session.updater.weighted_loss(widest, self.session.updater.aggregation.denominator(widest.loss_mask))
        self.session.student.module.eval()
        student, positions = self.session.student, int(widest.loss_mask.sum())
        logits = 4 * min(logits_alive(student.device), positions * student.vocabulary)
        sizes = counter.sizes.values()
        return ActivationBytes(sum(sizes), max(sizes, default=0), logits, _width(widest), process, seen=0)

    def _timed(self, collected: StepData) -> Timings:
        lengths = tuple(int(n) for n in collected.batch.rollout.sampled_mask.sum(dim=1))
        updater, module = self.session.updater, self.session.student.module
        again = self._collector().collect(0)  # the first one warmed up
        few, many = len(lengths), max(len(lengths), self._shapes().rows_at_once)
        points = ((few, self._decoding(few)), (many, self._decoding(many)))

        def update() -> None:
            updater.step([collected.batch], 0.0, TokenMeans())  # a rate of 0: no weight moves

        module.train()
        update()  # the first one makes the optimiser's state
        seconds = _seconds(update)
        module.eval()
        return Timings(lengths, again.rollout_seconds, again.teacher_seconds, seconds, points)

    def _decoding(self, rows: int) -> float:
        """Seconds of a decoding step of `rows` rows, from two short rollouts of different lengths."""
        experiment, student = self.part.experiment, self.session.student
        writer = self.part.collector.writer.from_the_start(experiment, experiment.seed)
        assert isinstance(writer, AnswerSource)
        problems = writer.stream.take(rows)
        seeds = [derive_seed(experiment.seed, "costing", row) for row in range(rows)]

        def write(tokens: int) -> float:
            rollout = replace(experiment.rollout, max_new_tokens=tokens)
            return _seconds(
                lambda: rollout.generate(student, problems, experiment.sampler, experiment.temperature, seeds)
            )

        steps = min(_DECODED, max(1, experiment.rollout.max_new_tokens - 1))
        with self.session.accelerator.autocast():
            return max(0.0, write(1 + steps) - write(1)) / steps


class KeptTensors:
    """Counts what autograd keeps, storage by storage; parameters are there in any case and not counted."""

    def __init__(self, module: nn.Module) -> None:
        self._parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
        self.sizes: dict[int, int] = {}

    def pack(self, kept: Tensor) -> Tensor:
        """Called by autograd with each tensor that it keeps."""
        storage = kept.untyped_storage()
        if storage.data_ptr() not in self._parameters:
            self.sizes[storage.data_ptr()] = storage.nbytes()
        return kept


def _width(batch: ScoredBatch) -> int:
    """Tokens of the longest prompt and the longest response."""
    return int(batch.rollout.prompts.ids.shape[1] + batch.rollout.tokens.shape[1])


def _bytes(parameters: Any) -> int:
    return sum(p.numel() * p.element_size() for p in parameters)


def _room() -> int:
    """Bytes that this process may hold: what is free now and what it has."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0]) + torch.cuda.memory_allocated()
    return int(psutil.virtual_memory().available) + int(psutil.Process().memory_info().rss)


def _seconds(work: Callable[[], object]) -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started
