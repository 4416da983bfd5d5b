"""Collects a step's data before its first update: rollouts, rewards, loss masks, supports, teacher scores."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.loss import Needs, StepBatch
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Author, Rollout
from opdkit.data.scores import Scores
from opdkit.generation import EngineCorrection, gap_metrics
from opdkit.masking import Vocabularies, needs_entropy
from opdkit.models import LanguageModel, Request
from opdkit.rewards import OpenReward
from opdkit.teachers import OpenTeacher, score_in_batches
from opdkit.training.finite import require_finite
from opdkit.training.policy import Policy
from opdkit.training.requests import before_request, teacher_request
from opdkit.training.rewarding import reward_of, rewarded
from opdkit.training.share import Share
from opdkit.training.siblings import with_siblings
from opdkit.training.sources import RolloutBatch, RolloutSource, Writer
from opdkit.training.step_data import StepData
from opdkit.training.term import BoundTerm, due_terms
from opdkit.training.update import ScoredBatch
from opdkit.world.world import World

# The number of the teacher's top ids used in diagnostics of an objective without a support.
_WATCHED_SUPPORT = 32
_Key = tuple[Author, int]
"""An author, and the id of the reward that graded its rollouts."""


@dataclass(frozen=True)
class CollectSettings:
    """The run's settings for collectors.

    Attributes:
        seed: the run's seed.
        share: see `Method`.
        updates: optimiser updates per rollout batch.
        mini_batches: the number of mini-batches per step.
        micro_batch: the micro-batch size.
        stats_every: steps between full-vocabulary statistics, 0 for never.
        diagnostics_every: steps between diagnostics, which also need them, 0 for never.
        stale: whether rollouts may come from older weights than those being updated.
    """

    seed: int
    share: float | None
    updates: int
    mini_batches: int
    micro_batch: MicroBatch
    stats_every: int = 0
    diagnostics_every: int = 0
    stale: bool = False

    @property
    def keeps_old(self) -> bool:
        """Whether the weights of an update may differ from those that generated the rollouts."""
        return self.updates > 1 or self.stale

    def looks(self, step: int) -> bool:
        """Whether step `step` (from 0) computes full-vocabulary statistics of both models."""
        return any(every > 0 and step % every == 0 for every in (self.stats_every, self.diagnostics_every))


@dataclass(frozen=True)
class RolloutCollector:
    """Generates, rewards and scores the rollouts of a step, for one task.

    Attributes:
        name: the task's name.
        settings: the run's settings.
        policy: the student.
        source: the source of the rows.
        writers: the writer of each author used by the terms.
        terms: the method's terms, for this task.
        teachers: the open teacher of each term that has one, by the term's name.
        rewards: the open reward of each term, by the term's name.
        whole: the generating models, whose weights are gathered on every rank during generation.
        correction: the correction for the mismatch between the engine's log-probs and the student's.
    """

    name: str
    settings: CollectSettings
    policy: Policy
    source: RolloutSource
    writers: Mapping[Author, Writer]
    terms: tuple[BoundTerm, ...]
    teachers: Mapping[str, OpenTeacher]
    rewards: Mapping[str, OpenReward] = field(default_factory=dict[str, OpenReward])
    whole: tuple[LanguageModel, ...] = ()
    correction: EngineCorrection = field(default_factory=EngineCorrection)

    def collect(self, step: int, version: int | None = None) -> list[StepData]:
        """The data of step `step` (from 0), for each term that is due, without gradient.

        version: the number of steps after which the policy's weights were taken, None for `step`.
        """
        made = (step if version is None else version) * self.settings.updates
        due = due_terms(self.terms, self.settings.share, self.settings.seed, step)
        started = time.perf_counter()
        with ExitStack() as stack:
            for model in self.whole:
                stack.enter_context(model.whole())
            graded, grades = self._written(step, [term for term, _ in due], made)
        seconds = time.perf_counter() - started
        data: list[StepData] = []
        for term, weight in due:
            key = (term.author, id(self.rewards[term.name]))
            began = time.perf_counter()
            share = Share.of(graded[key].sizes, self.settings.mini_batches, World.current())
            entropy = any(self._reads_entropy(step, other) for other, _ in due)
            graded[key] = self._with_gap(graded[key], entropy, share)
            batch = self._score(step, (term, weight), graded[key], grades[key], share)
            if term.curriculum is not None:
                weighed = term.curriculum.weights(grades[key], graded[key].group)
                extra = {"rollout/curriculum_weight": float(weighed.mean())}
                graded[key] = replace(graded[key], metrics={**graded[key].metrics, **extra})
            if share.world.size == 1:  # a teacher's metrics are local, and their reduction over ranks is not defined
                graded[key] = _with_teacher_metrics(graded[key], self.teachers.get(term.name))
            shared, scored = seconds if not data else 0.0, time.perf_counter() - began
            data.append(StepData(self.name, batch, graded[key], grades[key], shared, scored, share))
        return data

    def _written(
        self, step: int, due: Sequence[BoundTerm], made: int
    ) -> tuple[dict[_Key, RolloutBatch], dict[_Key, tuple[Grade, ...]]]:
        """The rows of each author, and their grades by each reward. made: the policy's number of updates."""
        authors: list[Author] = list(dict.fromkeys(term.author for term in due))
        entropy = any(self._reads_entropy(step, term) for term in due)
        writers = [self.writers[author] for author in authors]
        for writer in writers:
            if writer.author == "student" and writer.engine is not None:
                writer.engine.refresh(self.policy.model, made)
        written = self.source.take(step, writers, entropy)
        for writer in writers:
            if writer.author == "student" and writer.engine is not None:
                writer.engine.rest()
        graded: dict[_Key, RolloutBatch] = {}
        grades: dict[_Key, tuple[Grade, ...]] = {}
        for term in due:
            key = (term.author, id(self.rewards[term.name]))
            if key not in graded:
                of_version = _of_version(written[term.author], made)
                graded[key], grades[key] = rewarded(of_version, self.rewards[term.name], step)
        return graded, grades

    @torch.no_grad()
    def _score(
        self, step: int, term_and_weight: tuple[BoundTerm, float], rollouts: RolloutBatch, grades: Sequence[Grade],
        share: Share,
    ) -> ScoredBatch:  # fmt: skip
        """The scored rows of `share`. An objective's advantage is computed over the whole step."""
        term, weight = term_and_weight
        whole = self._seen_by_student(rollouts.rollout, self._reads_entropy(step, term), share)
        needs = term.objective.needs
        if term.teacher is not None and "sibling" in term.teacher.capabilities.reads:
            whole = with_siblings(whole, rollouts, grades)
        rollout = share.own_rollout(whole)
        teacher = self.teachers.get(term.name)
        tokenizer = self.policy.model.tokenizer
        vocabularies = Vocabularies(tokenizer, tokenizer if teacher is None else teacher.tokenizer)
        loss_mask = share.own(term.masking(whole, vocabularies) & whole.sampled_mask)
        stats_k = self._stats_k(step, needs)
        before = self._student_before(rollout, loss_mask, needs)
        scores = Scores()
        if teacher is not None and needs.teacher is not None:
            with self.policy.placement.together():
                if share.rows:
                    scores = teacher.score(rollout, loss_mask, teacher_request(needs, before, stats_k))
        if teacher is not None and needs.teacher is not None and share.rows:
            loss_mask = loss_mask if scores.scored is None else loss_mask & scores.scored
            require_finite(scores, loss_mask, f"the teacher's ({teacher.name})", step, share.rows)
        old = None if before is None else before.sampled_log_prob
        reward, known = reward_of(grades, loss_mask)
        advantage = None
        if needs.advantage:
            counted = share.joined(loss_mask, whole.tokens)
            assert counted is not None
            gathered = share.joined(old, reward), share.joined(scores.sampled_log_prob, reward)
            step_batch = StepBatch(counted, *gathered, reward, rollouts.group, known, step)
            advantage = share.own(term.objective.advantage(step_batch))  # type: ignore[attr-defined]
        kept = old if self.settings.keeps_old else None
        weights = self._token_weights(rollout)
        if term.curriculum is not None:
            of_prompts = share.own(term.curriculum.weights(grades, rollouts.group))[:, None].expand(loss_mask.shape)
            weights = of_prompts if weights is None else weights * of_prompts
        own = share.own(reward), advantage, stats_k, weights
        return ScoredBatch(term, weight, rollout, loss_mask, scores, kept, *own)

    def _token_weights(self, rollout: Rollout) -> Tensor | None:
        """Correction weights f32[B, T] for a rollout of a separate inference engine, None if there is nothing to
        correct."""
        if rollout.engine_log_prob is None or self.correction.mode == "none":
            return None
        return self.correction.weights(rollout.behaviour_log_prob, rollout.engine_log_prob, rollout.sampled_mask)

    @torch.no_grad()
    def _with_gap(self, batch: RolloutBatch, entropy: bool, share: Share) -> RolloutBatch:
        """The batch with metrics of the gap between the engine's log-probs and the student's, if it returns any."""
        if batch.rollout.engine_log_prob is None:
            return batch
        rollout = self._seen_by_student(batch.rollout, entropy, share)
        assert rollout.engine_log_prob is not None
        gap = gap_metrics(rollout.behaviour_log_prob, rollout.engine_log_prob, rollout.sampled_mask)
        return replace(batch, rollout=rollout, metrics={**batch.metrics, **gap})

    def _reads_entropy(self, step: int, term: BoundTerm) -> bool:
        """Whether this step needs the entropies of the student's tokens."""
        return self.settings.looks(step) or term.objective.needs.entropy or needs_entropy(term.masking)

    def _seen_by_student(self, rollout: Rollout, entropy: bool, share: Share) -> Rollout:
        """The rollout with the student's log-probs (and entropies, with `entropy`) in place of another author's or an
        engine's missing ones, so that masks, weights and metrics always use the student's."""
        known = rollout.author == "student" and rollout.scored
        if known and (rollout.entropy is not None or not entropy):
            return rollout
        request = Request(sampled=True, stats_k=int(entropy))
        part, own = share.own_rollout(rollout), Scores()
        with self.policy.placement.together():
            if share.rows:
                own = score_in_batches(self.policy.score, part, part.sampled_mask, request, self.settings.micro_batch)
        log_prob = share.joined(own.sampled_log_prob, rollout.tokens)
        assert log_prob is not None
        entropies = share.joined(own.entropy, rollout.tokens)
        return replace(rollout, behaviour_log_prob=log_prob, entropy=entropies, scored=True)

    def _stats_k(self, step: int, needs: Needs) -> int:
        """The number of top ids in each model's vocabulary statistics of this step; 0 for no statistics."""
        if not self.settings.looks(step):
            return 0
        return min(needs.k or _WATCHED_SUPPORT, self.policy.model.vocabulary)

    def _student_before(self, rollout: Rollout, loss_mask: Tensor, needs: Needs) -> Scores | None:
        """The student's scores before any update. Old log-probs take a separate pass only if an update may start from
        changed weights, or if the advantage needs the whole step."""
        old = (needs.old_log_prob and self.settings.keeps_old) or needs.advantage
        request = before_request(needs, old)
        if request is None:
            return None
        with self.policy.placement.together():
            if not len(rollout.tokens):
                return None
            return score_in_batches(self.policy.score, rollout, loss_mask, request, self.settings.micro_batch)


def _of_version(batch: RolloutBatch, updates: int) -> RolloutBatch:
    """The batch with the student's number of updates, if the student generated it."""
    if batch.rollout.author != "student":
        return batch
    return replace(batch, rollout=replace(batch.rollout, policy_version=updates))


def _with_teacher_metrics(batch: RolloutBatch, teacher: OpenTeacher | None) -> RolloutBatch:
    found = {} if teacher is None else teacher.metrics()
    return replace(batch, metrics={**batch.metrics, **{f"teacher/{name}": value for name, value in found.items()}})
