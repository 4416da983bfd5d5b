"""Adds correct sibling responses to a rollout, for teachers whose prompt contains one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opdkit.data.grade import Grade
from opdkit.data.rollout import Rollout
from opdkit.training.sources import RolloutBatch


def with_siblings(rollout: Rollout, batch: RolloutBatch, grades: Sequence[Grade]) -> Rollout:
    """The rollout with `sibling` in the context of each problem that has one.

    This is the first correct response of the row's group, other than the row's own. The student's prompt is not
    changed.

    Args:
        rollout: B rows.
        batch: the rows' groups and texts.
        grades: one per row.
    """
    groups = batch.group.tolist()
    right: dict[int, list[int]] = {}
    for row, grade in enumerate(grades):
        if grade.counts and grade.correct:
            right.setdefault(groups[row], []).append(row)
    problems = []
    for row, problem in enumerate(rollout.prompts.problems):
        chosen = next((other for other in right.get(groups[row], []) if other != row), None)
        extra = {} if chosen is None else {"sibling": batch.responses[chosen]}
        problems.append(replace(problem, context={**problem.context, **extra}))
    return replace(rollout, prompts=replace(rollout.prompts, problems=tuple(problems)))
