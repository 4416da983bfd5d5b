"""Lets a reward use the run's teacher to answer prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from opdkit.data.grade import Grade
from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.generation import Ask, Engine, EngineSpec, Sampling
from opdkit.models import LanguageModel
from opdkit.rewards import Group, OpenReward, Reward, RewardContext
from opdkit.teachers import OpenTeacher
from opdkit.training.term import BoundTerm
from opdkit.world.world import World


@dataclass(frozen=True)
class WritingTeacher:
    """A `TeacherWriter`: one answer per prompt, sampled like the student's rollouts.

    Attributes:
        engine: the teacher's engine.
        renderer: the teacher's model, for its tokenizer and chat template.
        sampling: sampling settings of every answer.
        max_new_tokens: the maximum length of an answer.
    """

    engine: Engine
    renderer: LanguageModel
    sampling: Sampling
    max_new_tokens: int

    def __call__(self, asked: Sequence[tuple[tuple[Message, ...], int]]) -> list[str]:
        asks = [Ask(tuple(self.renderer.render(messages)), seed, self.max_new_tokens) for messages, seed in asked]
        return [self.renderer.decode(list(one.ids)) for one in self.engine.generate(asks, self.sampling)]

    @classmethod
    def of(cls, teacher: OpenTeacher, spec: EngineSpec, sampling: Sampling) -> WritingTeacher:
        """The teacher with the run's engine settings. Raises UserError if it can't generate."""
        written = teacher.writer(spec)
        if written is None:
            raise UserError(f"reward.teacher: teacher={teacher.name} writes no answers; name a text model there")
        return cls(*written, sampling, spec.max_new_tokens)


def open_rewards(
    terms: Sequence[BoundTerm], context: RewardContext, writers: Mapping[str, WritingTeacher]
) -> dict[str, OpenReward]:
    """The open reward of each term. Terms with equal rewards share one, unless they use different teachers.

    Args:
        terms: the terms of a task.
        context: the context of its rewards.
        writers: the teacher of each term whose reward needs one, by the term's name.
    """
    opened: list[tuple[Reward, WritingTeacher | None, OpenReward]] = []
    by_term: dict[str, OpenReward] = {}
    for term in terms:
        reward, writer = term.reward, writers.get(term.name)
        shared = next((one for known, by, one in opened if known == reward and by is writer), None)
        if shared is None:
            main = World.current().main
            shared = reward.open(replace(context, teacher=writer)) if main else _NoReward()
            opened.append((reward, writer, shared))
        by_term[term.name] = shared
    return by_term


class _NoReward:
    """The reward on all ranks but 0, which grades for all."""

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """See `OpenReward`."""
        raise AssertionError("only the main process grades")

    def metrics(self) -> Mapping[str, float]:
        """See `OpenReward`."""
        return {}

    def close(self) -> None:
        """See `OpenReward`."""
