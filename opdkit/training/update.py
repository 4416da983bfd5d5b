"""One optimiser step over a mini-batch of scored rollouts, micro-batch by micro-batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from opdkit.data.loss import Aggregation, Objective, TokenBatch, TokenLoss
from opdkit.data.rollout import Rollout
from opdkit.data.scores import Scores
from opdkit.diagnostics import GradientVariance, TokenMeans, token_metrics
from opdkit.functional.layout import rows
from opdkit.stopwatch import METRICS
from opdkit.training.finite import first_not_finite
from opdkit.training.optimizer import AdamW
from opdkit.training.requests import student_request


@dataclass(frozen=True)
class ScoredBatch:
    """A rollout batch with all that is fixed before the first update on it.

    counted bool[B, T]; teacher, Scores of [B, T]; old_log_prob f32[B, T] or None; reward f32[B] or None;
    advantage f32[B, T], where the objective looks at the whole step for it, or None;
    observed: the step's diagnostics look at the whole vocabulary of the student, too.
    """

    rollout: Rollout
    loss_mask: Tensor
    teacher: Scores
    old_log_prob: Tensor | None
    reward: Tensor | None
    advantage: Tensor | None
    observed: int

    def cut(self, start: int, stop: int) -> ScoredBatch:
        """Rows [start, stop), cropped to the response positions that they use."""
        part = rows(self.rollout, start, stop)
        width = part.tokens.shape[1]

        def crop(values: Tensor | None) -> Tensor | None:
            return None if values is None else values[start:stop, :width]

        teacher = replace(self.teacher, **{name: crop(getattr(self.teacher, name)) for name in Scores.tensors()})
        reward = None if self.reward is None else self.reward[start:stop]
        old, advantage = crop(self.old_log_prob), crop(self.advantage)
        return ScoredBatch(part, self.loss_mask[start:stop, :width], teacher, old, reward, advantage, self.observed)


@dataclass(frozen=True)
class Updater:
    """Holds what an update needs and what does not change from one to the next.

    watched: the parameters whose gradient variance is measured. micro_batch: rows a backward pass.
    not_finite: row (of a task's part of the mini-batch) and position of the student's scores that were no numbers.
    """

    accelerator: Accelerator
    scorer: nn.Module
    optimizer: torch.optim.Optimizer
    spec: AdamW
    objective: Objective
    aggregation: Aggregation
    temperature: float
    micro_batch: int
    watched: tuple[nn.Parameter, ...]
    not_finite: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def step(self, batches: Sequence[ScoredBatch], lr: float, means: TokenMeans) -> dict[str, float]:
        """Backward over all micro-batches, then one optimiser step.

        batches: the mini-batch, one part for each task that is in it; a micro-batch never holds two tasks. The loss
        of every micro-batch is weighed under the denominator of the whole mini-batch, so their gradients add up to
        that of the mini-batch in one piece. Where the loss or a gradient is not finite the weights and the optimiser
        stay as they are. Returns loss, grad_norm, grad_variance, grad_snr, lr and `skipped` (0 or 1).
        """
        own = torch.stack([self.aggregation.denominator(batch.loss_mask) for batch in batches]).sum()
        denominator = cast("Tensor", self.accelerator.reduce(own, reduction="sum"))
        places = [(batch, start) for batch in batches for start in range(0, len(batch.loss_mask), self.micro_batch)]
        variance = GradientVariance(self.watched)
        loss = 0.0
        self.optimizer.zero_grad(set_to_none=True)
        with variance:
            for number, (batch, start) in enumerate(places, start=1):
                part = batch.cut(start, start + self.micro_batch)
                added = self._backward(part, denominator, means, last=number == len(places))
                loss += added
                if not math.isfinite(added):
                    self._look_closer(part, start)
                variance.closed()
        numbers = {"loss": loss, "lr": lr, **variance.result()}
        numbers["grad_norm"] = self._clip()
        finite = math.isfinite(loss) and math.isfinite(numbers["grad_norm"])
        if finite:
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return numbers | {"skipped": 0.0 if finite else 1.0}

    def _score(self, part: ScoredBatch) -> Scores:
        request = student_request(self.objective.needs, part.teacher, part.observed)
        with self.accelerator.autocast():
            return self.scorer(part.rollout, part.loss_mask, request, self.temperature)

    @torch.no_grad()
    def _look_closer(self, part: ScoredBatch, start: int) -> None:
        """Note where the student's scores are no numbers; a pass of its own, since a good step pays nothing for it."""
        student = self._score(part)
        found = first_not_finite(student, part.loss_mask)
        if found is not None:
            self.not_finite.append((start + found[0], found[1]))

    def _backward(self, part: ScoredBatch, denominator: Tensor, means: TokenMeans, last: bool) -> float:
        if not bool(part.loss_mask.any()):
            return 0.0
        with ExitStack() as stack:
            if not last:
                stack.enter_context(self.accelerator.no_sync(self.scorer))
            student, token_loss = self.weighted_loss(part, denominator)
            loss = token_loss.value.sum()
            self.accelerator.backward(loss)
        with METRICS:
            means.add(token_metrics(part.rollout, student, part.teacher), part.loss_mask)
        means.add(dict(token_loss.metrics), part.loss_mask)
        return float(loss.detach())

    def weighted_loss(self, part: ScoredBatch, denominator: Tensor) -> tuple[Scores, TokenLoss]:
        """The student's scores and the objective's answer, its value weighed so that the sum over rows is the loss."""
        student = self._score(part)
        rollout = part.rollout
        token_batch = TokenBatch(
            part.loss_mask, part.old_log_prob, part.reward, rollout.tokens, rollout.entropy, part.advantage
        )
        token_loss = self.objective(student, part.teacher, token_batch)
        weights = self.aggregation.weights(part.loss_mask, denominator)
        return student, replace(token_loss, value=token_loss.value * weights)

    def _clip(self) -> float:
        """The global gradient norm, before clipping."""
        limit = math.inf if self.spec.clip_norm is None else self.spec.clip_norm
        norm = self.accelerator.clip_grad_norm_(self.scorer.parameters(), limit)
        return 0.0 if norm is None else float(norm)
