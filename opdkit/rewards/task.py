"""The task's own grader as the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opdkit.data.grade import Grade, mean_parts
from opdkit.rewards.base import GradePairs, Group, OpenReward, RewardContext


@dataclass(frozen=True)
class TaskReward:
    """The task's own grade: 1 for a correct answer and 0 for a wrong one, or an episode's outcome."""

    def open(self, context: RewardContext) -> OpenReward:
        """See `Reward`."""
        return OpenTaskReward(context.grade)


class OpenTaskReward:
    """Grades with the task's grader. Groups that already have grades keep them."""

    def __init__(self, grade_pairs: GradePairs | None) -> None:
        self._grade_pairs = grade_pairs
        self._parts: Mapping[str, float] = {}

    def grade(self, groups: Sequence[Group], step: int) -> list[list[Grade]]:
        """See `OpenReward`."""
        pairs = [(text, g.problem.reference) for g in groups if g.grades is None for text in g.responses]
        own = self._grade_pairs(pairs) if pairs and self._grade_pairs is not None else []
        self._parts = mean_parts([grade.parts for grade in own])
        graded = iter(own)
        return [list(g.grades) if g.grades is not None else [next(graded) for _ in g.responses] for g in groups]

    def metrics(self) -> Mapping[str, float]:
        """See `OpenReward`. The mean of each part of the task's grades."""
        return self._parts

    def close(self) -> None:
        """See `OpenReward`."""
