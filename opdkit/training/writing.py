"""What a student writes in a step, before anyone scores it: answers to problems, or episodes of many turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from accelerate import Accelerator
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.rollout import Rollout
from opdkit.experiment import Experiment
from opdkit.models import LanguageModel
from opdkit.seeding import derive_seed
from opdkit.training.problems import EpochSampler, ProblemStream


@dataclass(frozen=True)
class RolloutBatch:
    """The B rows of a step.

    verdicts and responses: one a row; reward f32[B]; group i64[B], equal for rows of one prompt or one episode's
    seed; sizes: how many rows each rollout has, in order (an episode may have many, and they stay together);
    metrics: name -> number, of the step.
    """

    rollout: Rollout
    grades: tuple[Grade, ...]
    responses: tuple[str, ...]
    reward: Tensor
    group: Tensor
    sizes: tuple[int, ...]
    metrics: Mapping[str, float]


class RolloutSource(Protocol):
    """Where a step's rows come from. `walk` is all that it remembers from one step to the next."""

    @property
    def walk(self) -> EpochSampler: ...

    def write(self, step: int, author: LanguageModel) -> RolloutBatch:
        """The rows of step `step`, written by `author`."""
        ...

    def from_the_start(self, experiment: Experiment, seed: int) -> RolloutSource:
        """A writer of its own over the same problems in the same order, which begins at the first."""
        ...

    def close(self) -> None:
        """End whatever was started."""
        ...


@dataclass(frozen=True)
class AnswerSource:
    """One answer to each problem, graded. seed: of the sampling; grade: (response, reference) pairs -> verdicts."""

    experiment: Experiment
    seed: int
    accelerator: Accelerator
    student: LanguageModel
    stream: ProblemStream
    grade: Callable[[Sequence[tuple[str, str]]], list[Grade]]

    @property
    def walk(self) -> EpochSampler:
        return self.stream.walk

    def write(self, step: int, author: LanguageModel) -> RolloutBatch:
        """`prompts` problems of the walk, `rollouts_per_prompt` answers to each."""
        experiment, copies = self.experiment, self.experiment.batch.rollouts_per_prompt
        taken = self.stream.take(experiment.batch.prompts)
        problems = [pair for pair in taken for _ in range(copies)]
        seeds = [derive_seed(self.seed, "rollout", step, row) for row in range(len(problems))]
        author.module.eval()
        with self.accelerator.autocast():
            rollout = experiment.rollout.generate(author, problems, experiment.sampler, experiment.temperature, seeds)
        responses = texts(self.student, rollout)
        references = [problem.reference for problem, _ in problems]
        grades = self.grade(list(zip(responses, references, strict=True)))
        reward = torch.tensor([grade.reward for grade in grades], device=rollout.tokens.device)
        group = torch.arange(len(problems), device=rollout.tokens.device) // copies
        metrics = row_metrics(rollout) | {
            "rollout/reward_mean": float(reward.mean()),
            "rollout/ungraded_fraction": mean([grade.status in ("timeout", "crashed") for grade in grades]),
            "rollout/dropped_prompts": float(self.walk.dropped),
        }
        return RolloutBatch(rollout, tuple(grades), responses, reward, group, (1,) * len(problems), metrics)

    def from_the_start(self, experiment: Experiment, seed: int) -> AnswerSource:
        """See `RolloutSource`."""
        return replace(self, experiment=experiment, seed=seed, stream=self.stream.from_the_start())

    def close(self) -> None:
        """Nothing was started."""


def texts(student: LanguageModel, rollout: Rollout) -> tuple[str, ...]:
    """What each row says, an environment's tokens included."""
    lengths = rollout.attention_mask.sum(dim=1).tolist()
    return tuple(student.decode(row[:n]) for row, n in zip(rollout.tokens.tolist(), lengths, strict=True))


def row_metrics(rollout: Rollout) -> dict[str, float]:
    """How long the rows are, in tokens that were sampled, and how many of them a limit cut."""
    return {
        "rollout/length_mean": float(rollout.sampled_mask.sum(dim=1).double().mean()),
        "rollout/truncated_fraction": mean([reason == "length" for reason in rollout.stop_reason]),
    }


def mean(values: Sequence[float]) -> float:
    """The mean; nan of nothing."""
    return sum(values) / len(values) if values else float("nan")


def mini_batches(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Rows [start, stop) of each of `count` mini-batches: whole rollouts, in order, nearly equally many in each.

    sizes: the rows of each rollout. With one row a rollout and a count that divides them, all are alike.
    """
    ends = [0]
    for size in sizes:
        ends.append(ends[-1] + size)
    cuts = [ends[len(sizes) * part // count] for part in range(count + 1)]
    return list(itertools.pairwise(cuts))
