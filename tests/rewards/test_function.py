from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.errors import UserError
from opdkit.rewards import FunctionReward
from tests.rewards.stubs import context, group


def longer_than_siblings(problem: Problem, response: str, siblings: tuple[str, ...]) -> float:
    return sum(len(response) > len(other) for other in siblings) + (problem.identifier == "q") / 2


def with_parts(problem: Problem, response: str, siblings: tuple[str, ...]) -> Grade:
    return Grade(np.float32(0.5), parts={"length": float(len(response))})  # pyright: ignore[reportArgumentType]


def all_at_once(problem: Problem, responses: Sequence[str]) -> np.ndarray:
    return np.array([len(text) for text in responses])


HERE = __name__
GROUPS = [group("p", "a", "bbb", "cc"), group("q", "d")]


def test_a_function_sees_the_problem_the_response_and_its_siblings() -> None:
    right = [Grade.of(text == "bbb") for g in GROUPS for text in g.responses]
    opened = FunctionReward(f"{HERE}:longer_than_siblings").open(context(grade=lambda pairs: right))
    grades = opened.grade(GROUPS, 0)
    assert [[g.reward for g in row] for row in grades] == [[0.0, 2.0, 1.0], [0.5]]
    assert [g.correct for g in grades[0]] == [False, True, False]
    assert opened.metrics() == {"failed_groups": 0, "no_signal": 0.5, "mean": 3.5 / 4, "agreement": 1.0}
    opened.close()


def test_a_function_may_return_a_grade_or_a_whole_groups_rewards() -> None:
    (first, _), _ = FunctionReward(f"{HERE}:with_parts").open(context()).grade([group("p", "a", "b"), group("q")], 0)
    assert (first.reward, dict(first.parts)) == (0.5, {"length": 1.0})
    together = FunctionReward(f"{HERE}:all_at_once", whole_group=True).open(context()).grade(GROUPS, 0)
    assert [[g.reward for g in row] for row in together] == [[1, 3, 2], [1]]
    assert type(together[0][0].reward) is float


def test_a_function_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "HELP = 2\ndef score(problem, response, siblings=()):\n    return HELP * len(response)\n"
    )
    grades = FunctionReward(f"{tmp_path}/mine.py:score").open(context()).grade(GROUPS, 0)
    assert [g.reward for g in grades[0]] == [2, 6, 4]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise ValueError('no box\\nat all')", r"raised ValueError: no box \(mine.py line 2\), for problem p"),
        ("return 1 / 0", "raised ZeroDivisionError"),
        ("assert False", r"raised AssertionError \(mine"),
        ("return float('nan')", "returned nan, not a finite number"),
        ("return -float('inf')", "returned -inf, not a finite number"),
        ("return None", "returned nothing, not a number"),
        ("return '1.0'", "returned a str, not a number"),
        ("return [1.0, 2.0]", "returned a list, not a number"),
        ("return 1j", "returned a complex, not a number"),
    ],
)
def test_what_a_function_does_wrong_is_one_line(tmp_path: Path, body: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(f"def score(problem, response, siblings):\n    {body}\n")
    opened = FunctionReward(f"{tmp_path}/mine.py:score").open(context())
    with pytest.raises(UserError, match=told) as caught:
        opened.grade(GROUPS, 0)
    assert str(caught.value).startswith(f"reward.function={tmp_path}/mine.py:score ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("[1.0]", "returned 1 rewards for 3 responses"),
        ("[1, 2, 3, 4]", "returned 4 rewards for 3 responses"),
        ("1.0", "returned a float, not a list of 3 rewards"),
        ("'abc'", "returned a str, not a list"),
        ("{0: 1, 1: 2, 2: 3}", "returned a dict, not a list"),
        ("[1, None, 2]", "returned nothing, not a number"),
        ("[1, 2, float('nan')]", "returned nan"),
    ],
)
def test_a_whole_group_needs_one_number_each(tmp_path: Path, value: str, told: str) -> None:
    (tmp_path / "mine.py").write_text(f"def score(problem, responses):\n    return {value}\n")
    opened = FunctionReward(f"{tmp_path}/mine.py:score", whole_group=True).open(context())
    with pytest.raises(UserError, match=told):
        opened.grade(GROUPS, 0)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("score", "names no function; needed: path.py:name or module:name"),
        ("mine.py:not a name", "names no function"),
        ("nowhere.py:score", "there is no file nowhere.py"),
        ("no_such_module_at_all:score", "can't be imported: ModuleNotFoundError"),
        ("json:score", "json has no function score"),
        ("json:decoder", "json has no function decoder"),
        ("json:loads", r"can't be called as \(problem, response, siblings\)"),
    ],
)
def test_a_function_that_is_not_there(named: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        FunctionReward(named).open(context())
    assert str(caught.value).startswith(f"reward.function={named}")


def test_a_file_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def score(:\n")
    with pytest.raises(UserError, match=r"can't be imported: SyntaxError"):
        FunctionReward(f"{tmp_path}/mine.py:score").open(context())
