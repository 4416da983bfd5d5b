"""An optimiser step over a mini-batch of scored rollouts, with gradient accumulation over micro-batches."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from opdkit import device
from opdkit.data.loss import TokenBatch, TokenLoss
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Rollout
from opdkit.data.rows import crop, rollout_rows, scores_rows
from opdkit.data.scores import Scores
from opdkit.diagnostics import GradientVariance, TokenMeans, Watched, token_metrics
from opdkit.stopwatch import METRICS
from opdkit.training.finite import first_not_finite
from opdkit.training.policy import Policy
from opdkit.training.requests import student_request
from opdkit.training.term import BoundTerm
from opdkit.world.world import World


@dataclass(frozen=True)
class ScoredBatch:
    """The rows of one term with everything that is fixed before the first update on them.

    Attributes:
        term: the term of the loss.
        weight: the term's weight in the step's loss.
        rollout: B rows.
        loss_mask: bool[B, T], the tokens in the loss.
        teacher: scores [B, T], empty if the term has no teacher.
        old_log_prob: f32[B, T] or None, see `TokenBatch`.
        reward: f32[B] or None.
        advantage: f32[B, T], if the objective computes one over the whole step, else None.
        stats_k: the number of top ids in the student's vocabulary statistics, 0 for none.
        token_weight: f32[B, T], the weight of each token's loss, None for 1.
    """

    term: BoundTerm
    weight: float
    rollout: Rollout
    loss_mask: Tensor
    teacher: Scores
    old_log_prob: Tensor | None
    reward: Tensor | None
    advantage: Tensor | None
    stats_k: int
    token_weight: Tensor | None = None

    def rows(self, start: int, stop: int) -> ScoredBatch:
        """Rows [start, stop), cropped to the response positions that they use."""
        part = rollout_rows(self.rollout, start, stop)
        width = part.tokens.shape[1]
        return replace(
            self,
            rollout=part,
            loss_mask=self.loss_mask[start:stop, :width],
            teacher=scores_rows(self.teacher, start, stop, width),
            old_log_prob=crop(self.old_log_prob, start, stop, width),
            reward=None if self.reward is None else self.reward[start:stop],
            advantage=crop(self.advantage, start, stop, width),
            token_weight=crop(self.token_weight, start, stop, width),
        )


@dataclass(frozen=True)
class Updater:
    """Makes the optimiser steps of a run.

    Attributes:
        policy: the student.
        world: the ranks of the run.
        clip_norm: global norm to clip gradients to, None for no clipping.
        micro_batch: the micro-batch size.
        watched: the parameters whose gradient variance is measured.
        deterministic: whether backward passes are deterministic on a GPU, see `opdkit.device.in_fixed_order`.
        not_finite: row (within a part of the mini-batch) and position of non-finite student scores.
    """

    policy: Policy
    world: World
    clip_norm: float | None
    micro_batch: MicroBatch
    watched: Watched
    deterministic: bool = False
    not_finite: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])

    def step(
        self, batches: Sequence[ScoredBatch], lr: float, means: TokenMeans, terms: Sequence[str] = ()
    ) -> dict[str, float]:
        """Backward over all micro-batches, then one optimiser step.

        If the loss or a gradient is not finite, the weights and the optimiser are not changed.

        Collective, even for a rank without rows of the mini-batch; all ranks take the same decision.

        Args:
            batches: this rank's part of the mini-batch, one for each term of each task in it. The loss of every
                micro-batch is normalised by its term's denominator over the whole mini-batch, so that the gradients
                sum to that of the whole mini-batch.
            lr: the learning rate.
            means: accumulates the metrics of this rank's tokens.
            terms: the names of all terms of the mini-batch, if another rank may have one that this rank lacks.

        Returns:
            loss, <term>/loss (the term's contribution), grad_norm, grad_variance, grad_snr, lr and `skipped` (0 or 1).
        """
        denominators = self.denominators(batches, terms)
        places = [(batch, cut) for batch in batches for cut in self.micro_batch.cuts(batch.rollout)]
        variance = GradientVariance(self.watched)
        optimizer = self.policy.optimizer
        loss, by_term = 0.0, dict.fromkeys(denominators, 0.0)
        optimizer.zero_grad(set_to_none=True)
        with variance, self.policy.placement.together():
            for batch, (start, stop) in places:
                part = batch.rows(start, stop)
                added = self._backward(part, denominators[part.term.name], means)
                loss += added
                by_term[part.term.name] += added
                if not math.isfinite(added):
                    self._locate_not_finite(part, start)
                variance.closed()
        self.policy.sum_gradients()
        loss = float(self.world.sum(torch.tensor(loss, dtype=torch.float64)))
        numbers = {"loss": loss, "lr": lr, **variance.result(self.world)}
        added_up = self.world.sum(torch.tensor(list(by_term.values()), dtype=torch.float64)).tolist()
        numbers |= {f"{name}/loss": value for name, value in zip(by_term, added_up, strict=True)}
        numbers["grad_norm"] = self.policy.clip(math.inf if self.clip_norm is None else self.clip_norm)
        finite = math.isfinite(loss) and math.isfinite(numbers["grad_norm"])
        if finite:
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return numbers | {"skipped": 0.0 if finite else 1.0}

    def denominators(self, batches: Sequence[ScoredBatch], terms: Sequence[str] = ()) -> dict[str, Tensor]:
        """The denominator of each term by name, over all its parts and ranks."""
        own: dict[str, list[Tensor]] = {name: [torch.zeros((), device=self.policy.device)] for name in terms}
        for batch in batches:
            own.setdefault(batch.term.name, []).append(batch.term.aggregation.denominator(batch.loss_mask))
        return {name: self.world.sum(torch.stack(parts).sum()) for name, parts in own.items()}

    def weighted_loss(self, part: ScoredBatch, denominator: Tensor) -> tuple[Scores, TokenLoss]:
        """The student's scores and the objective's result, with its value weighted so that the sum over rows is the
        loss."""
        student = self._score(part)
        rollout = part.rollout
        token_batch = TokenBatch(
            part.loss_mask,
            part.old_log_prob,
            part.reward,
            rollout.tokens,
            rollout.entropy,
            part.advantage,
            rollout.behaviour_log_prob,
        )
        token_loss = part.term.objective(student, part.teacher, token_batch)
        weights = part.term.aggregation.weights(part.loss_mask, denominator)
        if part.weight != 1.0:
            weights = weights * part.weight
        if part.token_weight is not None:
            weights = weights * part.token_weight
        return student, replace(token_loss, value=token_loss.value * weights)

    def _score(self, part: ScoredBatch) -> Scores:
        request = student_request(part.term.objective.needs, part.teacher, part.stats_k)
        return self.policy.score(part.rollout, part.loss_mask, request)

    @torch.no_grad()
    def _locate_not_finite(self, part: ScoredBatch, start: int) -> None:
        """Record where the student's scores are non-finite, in a separate pass that only bad steps need."""
        place = first_not_finite(self._score(part), part.loss_mask)
        if place is not None:
            self.not_finite.append((start + place[0], place[1]))

    def _backward(self, part: ScoredBatch, denominator: Tensor, means: TokenMeans) -> float:
        if not bool(part.loss_mask.any()):
            return 0.0
        student, token_loss = self.weighted_loss(part, denominator)
        loss = token_loss.value.sum()
        with device.in_fixed_order(self.deterministic):
            self.policy.accelerator.backward(loss)
        metrics: Mapping[str, Tensor] = token_loss.metrics
        with METRICS:
            means.add(token_metrics(part.rollout, student, part.teacher), part.loss_mask)
        means.add(dict(metrics), part.loss_mask)
        return float(loss.detach())
