"""Metrics of a reward: the signal within groups, and its agreement with the task's own grader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

from opdkit.data.grade import Grade
from opdkit.rewards.base import GradePairs, Group

_EQUAL = 1e-9


def task_verdicts(grade: GradePairs | None, groups: Sequence[Group]) -> list[list[bool | None]]:
    """Whether each response is correct according to the task; None where unknown."""
    unknown = [group for group in groups if group.grades is None]
    pairs = [(text, group.problem.reference) for group in unknown for text in group.responses]
    graded = iter(grade(pairs) if grade is not None and pairs else [])
    verdicts: list[list[bool | None]] = []
    for group in groups:
        if group.grades is not None:
            verdicts.append([one.correct for one in group.grades])
        elif grade is not None:
            verdicts.append([next(graded).correct for _ in group.responses])
        else:
            verdicts.append([None] * len(group.responses))
    return verdicts


def signal(grades: Sequence[Sequence[Grade]]) -> Mapping[str, float]:
    """failed_groups: fraction of groups with unknown rewards; no_signal: fraction of the others whose rewards are all
    equal; mean: the mean known reward."""
    held = [group for group in grades if group]
    known = [group for group in held if all(grade.counts for grade in group)]
    metrics: dict[str, float] = {}
    if held:
        metrics["failed_groups"] = 1 - len(known) / len(held)
    if known:
        rewards = [[grade.reward for grade in group] for group in known]
        metrics["no_signal"] = sum(max(r) - min(r) <= _EQUAL for r in rewards) / len(rewards)
        flat = [reward for group in rewards for reward in group]
        metrics["mean"] = sum(flat) / len(flat)
    return metrics


def agreement(grades: Sequence[Sequence[Grade]]) -> float | None:
    """The probability that a correct response has a higher reward than an incorrect one of the same group.

    Over all such pairs; ties count half, so an uninformative reward has 0.5. None if no group has both.
    """
    won, pairs = 0.0, 0
    for group in grades:
        right = [grade.reward for grade in group if grade.counts and grade.correct is True]
        wrong = [grade.reward for grade in group if grade.counts and grade.correct is False]
        for better, worse in product(right, wrong):
            won += 0.5 if abs(better - worse) <= _EQUAL else float(better > worse)
            pairs += 1
    return won / pairs if pairs else None
