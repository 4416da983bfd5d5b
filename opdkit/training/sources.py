"""Sources of a step's rollouts: generated answers, or worked solutions from a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.data.rollout import Author, Rollout
from opdkit.generation import Ask, Completion, Engine, Sampling, Turn, pack
from opdkit.models import LanguageModel
from opdkit.rewards import Group
from opdkit.seeding import derive_seed
from opdkit.training.candidates import CandidateWriter
from opdkit.training.problems import EpochSampler, ProblemStream
from opdkit.training.writing import WHOLE, Writing, behind_prefixes
from opdkit.world.world import World


@dataclass(frozen=True)
class RolloutBatch:
    """The B rows of a step, before rewards.

    Attributes:
        rollout: B rows.
        responses: the text of each row.
        groups: the rollouts of each prompt, as text, for the reward.
        group: i64[B], the group of each row.
        sizes: the number of rows of each rollout, in order. An episode may have many, which are consecutive.
        metrics: name -> number, of the step.
        row_grades: the grade of each row by itself, None if every row is a whole rollout.
    """

    rollout: Rollout
    responses: tuple[str, ...]
    groups: tuple[Group, ...]
    group: Tensor
    sizes: tuple[int, ...]
    metrics: Mapping[str, float]
    row_grades: tuple[Grade, ...] | None = None


@dataclass(frozen=True)
class StepSize:
    """The number of rollouts in a step."""

    prompts: int
    rollouts_per_prompt: int


@dataclass(frozen=True)
class Writer:
    """The source of a step's responses.

    Attributes:
        author: the policy.
        engine: the policy's engine, None for responses from data.
        select: generates several responses per prompt and selects one. None: every response is a row.
        guide: the engine that generates the response prefix, None for none.
    """

    author: Author
    engine: Engine | None
    select: CandidateWriter | None = None
    guide: Engine | None = None


class RolloutSource(Protocol):
    """A source of a step's rows. `sampler` is its only state between steps."""

    @property
    def sampler(self) -> EpochSampler: ...

    def take(self, step: int, writers: Sequence[Writer], entropy: bool = True) -> dict[Author, RolloutBatch]:
        """The rows of step `step` (from 0), one batch for each writer, on the same prompts.

        entropy: whether the behaviour policy's entropies are needed.
        """
        ...

    def restarted(self, size: StepSize, seed: int) -> RolloutSource:
        """An independent source over the same prompts in the same order, from the first, with another size and seed."""
        ...

    def close(self) -> None:
        """Release all resources."""
        ...


@dataclass(frozen=True)
class AnswerSource:
    """`rollouts_per_prompt` answers to each prompt of a stream of problems.

    Attributes:
        size: the size of a step.
        seed: the sampling seed.
        student: the model whose tokenizer and chat template are used, whoever generates.
        stream: the problems.
        sampling: sampling settings of every answer.
        max_new_tokens: the maximum length of an answer.
        writing: schedules of the response length and prefix.
    """

    size: StepSize
    seed: int
    student: LanguageModel
    stream: ProblemStream
    sampling: Sampling
    max_new_tokens: int
    writing: Writing = WHOLE

    @property
    def sampler(self) -> EpochSampler:
        """See `RolloutSource`."""
        return self.stream.sampler

    def take(self, step: int, writers: Sequence[Writer], entropy: bool = True) -> dict[Author, RolloutBatch]:
        """See `RolloutSource`."""
        copies = self.size.rollouts_per_prompt
        prompts = self.stream.take(self.size.prompts)
        asked = [pair for pair in prompts for _ in range(copies)]
        source = replace(self, sampling=replace(self.sampling, entropy=entropy))
        batches: dict[Author, RolloutBatch] = {}
        for writer in writers:
            if writer.select is None:
                batches[writer.author] = self._batch(asked, source._rows(step, writer, asked), writer.author, copies)
        own = batches["student"].rollout if "student" in batches else None
        for writer in writers:
            if writer.select is not None:
                found = writer.select(step, prompts, own)
                batch = self._batch(prompts, _single(prompts, found.completions), writer.author, 1)
                batches[writer.author] = replace(batch, metrics={**batch.metrics, **found.metrics})
        return batches

    def _batch(
        self, asked: Sequence[tuple[Problem, list[int]]], rows: Sequence[tuple[Turn, ...]], author: Author, copies: int
    ) -> RolloutBatch:
        rollout = pack(self.student, rows, [problem for problem, _ in asked], author)
        responses = texts(self.student, rollout)
        groups = tuple(Group(asked[i][0], responses[i : i + copies]) for i in range(0, len(asked), copies))
        group = torch.arange(len(asked), device=rollout.tokens.device) // copies
        metrics = row_metrics(rollout) | {"rollout/dropped_prompts": float(self.sampler.dropped)}
        return RolloutBatch(rollout, responses, groups, group, (1,) * len(asked), metrics)

    def _rows(self, step: int, writer: Writer, asked: Sequence[tuple[Problem, list[int]]]) -> list[tuple[Turn, ...]]:
        limit = self.writing.limit(step, self.max_new_tokens)
        if writer.author == "data":
            return _single(asked, [_solution(self.student, problem, limit) for problem, _ in asked])
        asks = [
            Ask(tuple(ids), derive_seed(self.seed, "rollout", step, row), limit) for row, (_, ids) in enumerate(asked)
        ]
        prefix = 0 if writer.guide is None else self.writing.prefix_at(step, limit)
        if prefix:
            go_on, begin = partial(self._write, writer.engine), partial(self._write, writer.guide)
            return behind_prefixes(go_on, begin, asks, prefix)
        return _single(asked, self._write(writer.engine, asks))

    def _write(self, engine: Engine | None, asks: Sequence[Ask]) -> list[Completion]:
        assert engine is not None
        return World.current().shared(asks, lambda part: engine.generate(part, self.sampling))

    def restarted(self, size: StepSize, seed: int) -> AnswerSource:
        """See `RolloutSource`."""
        return replace(self, size=size, seed=seed, stream=self.stream.restarted())

    def close(self) -> None:
        """See `RolloutSource`."""


def _single(asked: Sequence[tuple[Problem, list[int]]], written: Sequence[Completion]) -> list[tuple[Turn, ...]]:
    """Rows of one completion each."""
    return [(Turn(tuple(ids), completion),) for (_, ids), completion in zip(asked, written, strict=True)]


def _solution(model: LanguageModel, problem: Problem, limit: int) -> Completion:
    """The problem's worked solution, else its reference, as token ids with a stop token at the end."""
    text = problem.text("solution") or problem.reference
    ids: list[int] = model.tokenizer.encode(text, add_special_tokens=False)
    whole = [*ids, min(model.stop_ids)] if model.stop_ids else ids
    cut = len(whole) > limit
    return Completion(tuple(whole[:limit]), None, None, "length" if cut else "stop")


def texts(model: LanguageModel, rollout: Rollout) -> tuple[str, ...]:
    """The text of each row, including environment tokens."""
    lengths = rollout.attention_mask.sum(dim=1).tolist()
    return tuple(model.decode(row[:n]) for row, n in zip(rollout.tokens.tolist(), lengths, strict=True))


def row_metrics(rollout: Rollout) -> dict[str, float]:
    """Statistics of the rows' lengths in sampled tokens, and the fraction cut at the limit."""
    return {
        "rollout/length_mean": float(rollout.sampled_mask.sum(dim=1).double().mean()),
        "rollout/truncated_fraction": mean([reason == "length" for reason in rollout.stop_reason]),
    }


def mean(values: Sequence[float]) -> float:
    """The mean; nan for an empty sequence."""
    return sum(values) / len(values) if values else float("nan")
