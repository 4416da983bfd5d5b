"""Rows of two turns, what one step collects from them, and nobody who grades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.problem import Message, Problem
from opdkit.data.rollout import Author, Rollout
from opdkit.generation import Completion, Turn, pack
from opdkit.masking import Vocabularies
from opdkit.models import Request
from opdkit.objectives import TokenDivergence, TokenMean
from opdkit.rewards import Group, OpenReward
from opdkit.teachers import LocalTeacher, TeacherContext
from opdkit.training.collect import CollectSettings, RolloutCollector
from opdkit.training.policy import Policy
from opdkit.training.problems import EpochSampler
from opdkit.training.sources import RolloutBatch, StepSize, Writer
from opdkit.training.term import BoundTerm
from opdkit.training.update import ScoredBatch

PROBLEMS = [Problem(f"p{i}", (Message("user", "go"),), "") for i in range(2)]


@dataclass
class Episodes:
    """Rows of two turns with an environment's words between them."""

    rollout: Rollout
    sampler: EpochSampler

    def take(self, step: int, writers: Sequence[Writer], entropy: bool = True) -> dict[Author, RolloutBatch]:
        count = len(self.rollout.tokens)
        groups = (Group(PROBLEMS[0], ("",) * count),)
        batch = RolloutBatch(
            self.rollout, ("",) * count, groups, torch.zeros(count, dtype=torch.long), (1,) * count, {}
        )
        return {self.rollout.author: batch}

    def restarted(self, size: StepSize, seed: int) -> Episodes:
        return self

    def close(self) -> None: ...


class Everything:
    """A masking rule that forgets the tokens which nobody sampled."""

    def __call__(self, rollout: Rollout, vocabularies: Vocabularies) -> Tensor:
        return torch.ones_like(rollout.sampled_mask)


class Rewards:
    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        return [[Grade.of(True) for _ in group.responses] for group in groups]

    def metrics(self) -> Mapping[str, float]:
        return {}

    def close(self) -> None: ...


class NoReward:
    def open(self, context: object) -> OpenReward:
        return Rewards()


def episodes(policy: Policy) -> Rollout:
    """Two rows, the second shorter, with the log-probs of the policy that wrote them."""
    long = (
        Turn((1, 2), Completion((10, 11, 12), None, None, "stop")),
        Turn((1, 2, 10, 11, 12, 30, 31), Completion((13, 14), None, None, "stop")),
    )
    short = (Turn((3,), Completion((15, 16), None, None, "stop")),)
    rollout = pack(policy.model, [long, short], PROBLEMS)
    with torch.no_grad():
        scores = policy.score(rollout, rollout.sampled_mask, Request(sampled=True, stats_k=1))
    assert scores.sampled_log_prob is not None
    assert scores.entropy is not None
    return replace(rollout, behaviour_log_prob=scores.sampled_log_prob, entropy=scores.entropy, scored=True)


def collect(policy: Policy, pair: Path, rollout: Rollout, settings: CollectSettings) -> ScoredBatch:
    """One step of sampled-token distillation under PPO ratios, on rows that are there."""
    spec, author = LocalTeacher(str(pair / "teacher")), rollout.author
    teacher = spec.open(TeacherContext("cpu", policy.model, 1.0, MicroBatch(4)))
    objective = TokenDivergence(support="sampled", estimator="score")
    term = BoundTerm("term", objective, author, spec, NoReward(), Everything(), TokenMean(), 1.0, 1)
    source = Episodes(rollout, EpochSampler(2, 0))
    writers: dict[Author, Writer] = {author: Writer(author, None)}
    collector = RolloutCollector("", settings, policy, source, writers, (term,), {"term": teacher}, {"term": Rewards()})
    return collector.collect(0)[0].batch
