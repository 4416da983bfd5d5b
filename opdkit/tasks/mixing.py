"""Mixes several lists of problems by weight."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from opdkit.data.problem import Problem
from opdkit.errors import UserError

_MOST = 10_000_000


def mix(lists: Sequence[Sequence[Problem]], weights: Sequence[float]) -> list[Problem]:
    """Every problem at least once, with copies such that an epoch has the lists in proportion to `weights`.

    Identifiers of copies end with `~2`, `~3`, ... so that each has its own seeds. Raises UserError for more than ten
    million problems.
    """
    scale = max(len(problems) / weight for problems, weight in zip(lists, weights, strict=True))
    counts = [round(weight * scale) for weight in weights]
    if sum(counts) > _MOST:
        raise UserError(f"weights={list(weights)}: an epoch would have {sum(counts)} problems; allowed: {_MOST}")
    mixed: list[Problem] = []
    for problems, count in zip(lists, counts, strict=True):
        for place in range(count):
            copy, index = divmod(place, len(problems))
            problem = problems[index]
            mixed.append(problem if copy == 0 else replace(problem, identifier=f"{problem.identifier}~{copy + 1}"))
    return mixed
