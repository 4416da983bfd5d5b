"""The walk over problems: seeded, endless, taken up anywhere."""

from __future__ import annotations

import pytest

from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.training.problems import ProblemStream

PROBLEMS = [Problem(str(i), (), "") for i in range(10)]


def stream(seed: int = 0, limit: int = 100, longest: int = 0) -> ProblemStream:
    return ProblemStream(PROBLEMS, lambda p: [0] * (50 if int(p.identifier) < longest else 5), limit, seed)


def names(taken: list[tuple[Problem, list[int]]]) -> list[str]:
    return [problem.identifier for problem, _ in taken]


def test_every_epoch_holds_each_problem_once_in_its_own_order() -> None:
    walk = stream()
    first, second = names(walk.take(10)), names(walk.take(10))
    assert sorted(first) == sorted(second) == [str(i) for i in range(10)]
    assert first != second
    assert first != names(stream(seed=1).take(10))


def test_a_walk_is_taken_up_at_its_cursor() -> None:
    whole = stream()
    expected = names(whole.take(7)) and names(whole.take(9))
    again = stream()
    again.sampler.cursor = 7
    assert names(again.take(9)) == expected


def test_long_prompts_are_passed_over_and_counted() -> None:
    walk = stream(limit=10, longest=4)
    assert set(names(walk.take(12))) == {"4", "5", "6", "7", "8", "9"}
    assert walk.sampler.dropped >= 4


def test_a_prompt_as_long_as_the_limit_fits() -> None:
    walk = stream(limit=5)
    walk.require_one()
    assert len(walk.take(len(PROBLEMS))) == len(PROBLEMS)
    assert walk.sampler.dropped == 0
    with pytest.raises(UserError, match="max_prompt_tokens=4"):
        stream(limit=4).require_one()


def test_only_long_prompts_is_an_error_and_so_is_an_empty_task() -> None:
    with pytest.raises(UserError, match="max_prompt_tokens=10"):
        stream(limit=10, longest=10).take(1)
    with pytest.raises(UserError, match="no problems"):
        ProblemStream([], lambda p: [], 10, 0)
