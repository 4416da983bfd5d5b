"""Defines the reward protocol: siblings of one prompt are graded together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem

GradePairs = Callable[[Sequence[tuple[str, str]]], list[Grade]]
"""(response, reference) pairs -> one grade each: a task's own grader."""

TeacherWriter = Callable[[Sequence[tuple[tuple[Message, ...], int]]], list[str]]
"""(messages, seed) pairs -> one answer each, written by the run's teacher."""


@dataclass(frozen=True)
class Group:
    """The responses to one prompt.

    Attributes:
        problem: what was asked.
        responses: the siblings, as text.
        grades: the task's own grades of them where they are known already, as in an episode, else None.
    """

    problem: Problem
    responses: tuple[str, ...]
    grades: tuple[Grade, ...] | None = None


@dataclass(frozen=True)
class RewardContext:
    """What a reward may use.

    Attributes:
        grade: the task's own grader, None for an environment.
        folder: where the reward keeps its exchanges, None where nothing is recorded.
        seed: of the run.
        teacher: writes answers with the run's teacher, None where the teacher can't write.
    """

    grade: GradePairs | None
    folder: Path | None
    seed: int
    teacher: TeacherWriter | None = None


class OpenReward(Protocol):
    """A reward whose models and files are open."""

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """One list a group, one grade a response, in order. `step` counts from 0."""
        ...

    def metrics(self) -> Mapping[str, float]:
        """Numbers of the last `grade` call, by name below `reward/`."""
        ...

    def close(self) -> None:
        """Release what was opened."""
        ...


class Reward(Protocol):
    """A reward as it is configured: nothing is opened yet."""

    def open(self, context: RewardContext) -> OpenReward:
        """Open it. Raises UserError for what the context lacks."""
        ...


@runtime_checkable
class AsksTeacher(Protocol):
    """A reward that may have the run's teacher write answers, through `RewardContext.teacher`."""

    @property
    def asks_teacher(self) -> bool:
        """Whether it does."""
        ...


def asks_teacher(reward: Reward) -> bool:
    """Whether a reward has the run's teacher write."""
    return isinstance(reward, AsksTeacher) and reward.asks_teacher
