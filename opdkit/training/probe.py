"""Measures the noise and bias of gradient estimators with repeated rollouts of fixed prompts."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from opdkit.diagnostics.observation import Finding
from opdkit.diagnostics.probe import Probed, ProbeSettings, position_limits, report
from opdkit.diagnostics.projection import Projection, names_of
from opdkit.errors import UserError
from opdkit.functional.estimators import reward_to_go, score_function
from opdkit.functional.masked import only
from opdkit.models import Request
from opdkit.seeding import derive_seed
from opdkit.training.collect import RolloutCollector
from opdkit.training.session import Session
from opdkit.training.sources import StepSize
from opdkit.training.tasks import TaskRun
from opdkit.training.update import ScoredBatch

Taken = list[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Probe:
    """The gradient probe, with its own rollout collector and random projection."""

    settings: ProbeSettings
    session: Session
    collector: RolloutCollector
    projection: Projection
    rollouts_per_prompt: int

    @classmethod
    def of(cls, settings: ProbeSettings, task: TaskRun, session: Session, seed: int) -> Probe:
        """A probe on the first prompts in the run's order; the run's own position in it is not changed."""
        own = derive_seed(seed, "probe")
        collect = replace(task.collector.settings, seed=own, updates=1, stats_every=0, diagnostics_every=0)
        module = session.policy.model.module
        projection = Projection(names_of(module, module.parameters()), settings.projection, own)
        collector = replace(task.collector, settings=collect)
        return cls(settings, session, collector, projection, task.settings.size.rollouts_per_prompt)

    def measure(self, step: int) -> Finding:
        """Measure the student after `step` steps, without changing weights, optimiser state or order of problems."""
        started = time.perf_counter()
        size = StepSize(self.settings.prompts, self.settings.rollouts)
        source = self.collector.source.restarted(size, self.collector.settings.seed)
        collected = replace(self.collector, source=source).collect(step)[0]
        batch, ends = collected.batch, list(itertools.accumulate(collected.rollouts.sizes, initial=0))
        shape = (self.settings.prompts, self.settings.rollouts)
        if len(ends) != shape[0] * shape[1] + 1:  # a game crashed, so the table of prompts and rollouts is incomplete
            return Finding({}, ())
        reference = self._teacher_log_prob(batch)
        limits = position_limits(batch.loss_mask, self.settings.positions)
        # With the denominator divided by n, the mean of n rollouts' gradients is the full gradient.
        scaled = batch.term.aggregation.denominator(batch.loss_mask) / len(collected.rollouts.sizes)
        objective, sequence = [], []
        with self.projection:
            for start, stop in itertools.pairwise(ends):  # an episode's rows are one rollout
                rows = [self._row(batch, row, reference, scaled, limits) for row in range(start, stop)]
                objective.append(torch.stack([one for one, _ in rows]).sum(0))
                sequence.append(torch.stack([two for _, two in rows]).sum(0))
        self.session.policy.optimizer.zero_grad(set_to_none=True)
        tokens = [int(batch.loss_mask[:, a:b].sum()) for a, b in itertools.pairwise(limits)]
        found = report(
            Probed(
                torch.stack(objective).unflatten(0, shape), torch.stack(sequence).unflatten(0, shape),
                self.projection.layers, tokens, limits, self.rollouts_per_prompt,
            )
        )  # fmt: skip
        errors = {
            "projection_error": self.projection.error,
            "projection_expected_error": self.projection.expected_error,
        }
        scalars = {f"probe/{name}": value for name, value in (dict(found.scalars) | errors).items()}
        return Finding(scalars | {"time/probe_s": time.perf_counter() - started}, found.tables)

    def _row(
        self, batch: ScoredBatch, row: int, reference: Tensor, denominator: Tensor, limits: list[int]
    ) -> tuple[Tensor, Tensor]:
        """One row's gradient of the objective by position, and its sequence-level gradient."""
        part = batch.rows(row, row + 1)
        theirs = reference[row : row + 1, : part.loss_mask.shape[1]]
        return self._by_position(part, denominator, limits), self._sequence_level(part, theirs, denominator)

    def _teacher_log_prob(self, batch: ScoredBatch) -> Tensor:
        """log q of the sampled tokens, f32[B, T]; requested separately if the objective does not need it."""
        if batch.teacher.sampled_log_prob is not None:
            return batch.teacher.sampled_log_prob
        teacher = self.collector.teachers.get(batch.term.name)
        if teacher is None:
            raise UserError("probe_every: the probe compares with the teacher, and the objective has none")
        with self.session.policy.accelerator.autocast():
            scores = teacher.score(batch.rollout, batch.loss_mask, Request(sampled=True))
        assert scores.sampled_log_prob is not None
        return scores.sampled_log_prob

    def _by_position(self, part: ScoredBatch, denominator: Tensor, limits: list[int]) -> Tensor:
        """f64[J, layers, size], one rollout's gradient of the objective, with a backward pass per bucket."""
        if not bool(part.loss_mask.any()):
            return torch.stack([self.projection.taken() for _ in limits[1:]])
        weighted = self.session.updater.weighted_loss(part, denominator)[1].value
        found: list[Tensor] = []
        for start, stop in itertools.pairwise(limits):
            loss = weighted[:, start:stop].sum()
            if bool(part.loss_mask[:, start:stop].any()):
                loss.backward(retain_graph=True)
            found.append(self.projection.taken())
        return torch.stack(found)

    def _sequence_level(self, part: ScoredBatch, teacher_log_prob: Tensor, denominator: Tensor) -> Tensor:
        """f64[layers, size], g_seq = sum_t (sum_{t' >= t} r_t') s_t under the run's aggregation."""
        if not bool(part.loss_mask.any()):
            return self.projection.taken()
        student = self.session.policy.score(part.rollout, part.loss_mask, Request(sampled=True))
        assert student.sampled_log_prob is not None
        log_pi = only(student.sampled_log_prob, part.loss_mask)
        cost = reward_to_go(log_pi.detach() - only(teacher_log_prob, part.loss_mask), 1.0)
        weights = part.term.aggregation.weights(part.loss_mask, denominator)
        (score_function(log_pi, -cost) * weights).sum().backward()
        return self.projection.taken()
