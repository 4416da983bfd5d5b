"""Someone's own environment: what it may answer, and what is refused."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdkit.environments import Crash, Custom, EnvironmentPool, EnvironmentSource, Observation, StepResult
from opdkit.environments.custom import CustomEnvironment
from opdkit.errors import UserError
from tests.lamp import LAMP


@pytest.fixture
def lamp(tmp_path: Path) -> Iterator[None]:
    """A module of someone else's."""
    (tmp_path / "own_environment.py").write_text(LAMP)
    path = list(sys.path)
    sys.path.insert(0, str(tmp_path))
    yield
    sys.path[:] = path
    sys.modules.pop("own_environment", None)


def source(**fields: object) -> Custom:
    return Custom(environment={"_target_": "own_environment.Lamp", "size": 2}, **fields)  # type: ignore[arg-type]


def test_its_words_become_observations_and_results(lamp: None) -> None:
    mine = source(count=3, start=5, name="lamp")
    assert isinstance(mine, EnvironmentSource)
    assert [(e.identifier, e.seed) for e in mine.episodes()] == [("lamp/5", 5), ("lamp/6", 6), ("lamp/7", 7)]
    with EnvironmentPool(mine, 1) as pool:
        assert pool.reset([(0, 5)]) == [Observation("Lamp 5 is off.", ("on", "wait"))]
        assert pool.gold([0]) == [("on", "on")]
        known = ("on", "wait")
        assert pool.step([(0, "sing")]) == [StepResult(Observation("It is off.", known), 0.0, False, 0.0, False, False)]
        assert pool.step([(0, "on")]) == [StepResult(Observation("It is off.", known), 0.0, False, 0.5, False, True)]
        assert pool.step([(0, "on")]) == [StepResult(Observation("It is on.", known), 1.0, True, 1.0, True, True)]


class Plain:
    """Answers with what is given, and with no word in `info`."""

    def __init__(self, *answers: tuple[str, float, bool, dict]) -> None:
        self.answers = list(answers)

    def reset(self, seed: int) -> tuple[str, list[str]]:
        return "begun", []

    def step(self, action: str) -> tuple[str, float, bool, dict]:
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("answer", "success", "score", "done"),
    [
        (("", 1.0, True, {}), True, 1.0, True),
        (("", 0.0, True, {}), False, 0.0, True),
        (("", 1.0, False, {}), False, 0.0, False),
        (("", 0.0, False, {"success": True}), True, 1.0, True),
        (("", 0.0, True, {"score": 0.25}), False, 0.25, True),
    ],
)
def test_what_info_leaves_open(answer: tuple, success: bool, score: float, done: bool) -> None:
    game = CustomEnvironment(Plain(answer))
    assert game.reset(0) == Observation("begun")
    found = game.step("anything")
    assert (found.success, found.score, found.done, found.valid) == (success, score, done, True)
    assert game.gold() is None
    game.close()


def test_an_object_that_answers_nonsense_is_a_crash_and_no_loss(tmp_path: Path, lamp: None) -> None:
    (tmp_path / "own_environment.py").write_text(LAMP.replace("return (", "return 3, ("))
    with EnvironmentPool(source(), 1) as pool:
        pool.reset([(0, 0)])
        (found,) = pool.step([(0, "on")])
        assert isinstance(found, Crash)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        (
            {"_target_": "own_environment.Chair"},
            "own_environment.Chair: has no step; needed: reset(seed), step(",
        ),
        ({"_target_": "own_environment.Sofa"}, "environment._target_=own_environment.Sofa: module"),
        ({"_target_": "nowhere.Lamp"}, "environment._target_=nowhere.Lamp: No module named"),
        ({"size": 3}, "environment names no _target_"),
        (Plain(), "environment is a Plain already; write _recursive_: false"),
    ],
)
def test_what_is_no_environment(lamp: None, environment: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        Custom(environment=environment).episodes()  # type: ignore[arg-type]
    assert said in str(caught.value)
