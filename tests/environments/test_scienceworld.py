"""ScienceWorld: what can be refused without it, and the lab itself where package and Java are there."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import pytest

from opdkit.environments import Crash, EnvironmentPool, EnvironmentSource, Observation, ScienceWorld, StepResult
from opdkit.environments.scienceworld import FOLDS, TASKS, variations
from opdkit.errors import UserError

installed = importlib.util.find_spec("scienceworld") is not None and shutil.which("java") is not None
real = pytest.mark.skipif(not installed, reason="ScienceWorld or Java is not installed")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"games": ["bol"]}, ("'bol'", "did you mean boil?")),
        ({"games": []}, ("games=[]",)),
        ({"games": ["boil", "boil"]}, ("twice",)),
        ({"fold": "tst"}, ("'tst'", "did you mean test?")),
        ({"count": 0}, ("count=0", "at least 1")),
    ],
)
def test_what_does_not_exist_is_refused_without_java(fields: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        ScienceWorld(**fields)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_package_is_told_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'opdkit\[scienceworld\]'"):
        ScienceWorld().episodes()


def test_folds_share_no_variation_and_cover_all() -> None:
    for task, (_, _, end) in TASKS.items():
        folds = [set(variations(task, fold)) for fold in FOLDS]
        assert set.union(*folds) == set(range(end))
        assert sum(map(len, folds)) == end
    assert sum(end for _, _, end in TASKS.values()) == 7207  # the package's own count


@pytest.fixture(scope="module")
def pool() -> Iterator[EnvironmentPool]:
    with EnvironmentPool(ScienceWorld(), 1) as opened:
        yield opened


@real
@pytest.mark.parametrize("game", ["find-plant", "power-component"])
def test_the_gold_path_wins(pool: EnvironmentPool, game: str) -> None:
    source = ScienceWorld(games=[game])
    assert isinstance(source, EnvironmentSource)
    (seen,) = pool.reset([(0, source.episodes()[0].seed)])
    assert isinstance(seen, Observation)
    assert "Your task is to" in seen.text
    assert "look around" in seen.admissible
    (path,) = pool.gold([0])
    assert path
    found: StepResult | Crash | None = None
    for action in path:
        (found,) = pool.step([(0, action)])
        assert isinstance(found, StepResult)
        assert found.valid, f"the lab's own path has {action}, which may not be in its list"
        if found.done:  # a task may be done before its path is at its end
            break
    assert isinstance(found, StepResult)
    assert (found.success, found.done, found.score) == (True, True, 1.0)


@real
def test_asking_for_the_gold_path_changes_nothing(pool: EnvironmentPool) -> None:
    seed = ScienceWorld(games=["find-plant"]).episodes()[0].seed
    (path,) = pool.gold([0]) if pool.reset([(0, seed)]) else ((),)
    assert isinstance(path, tuple)
    asked, quiet = [], []
    for told, once_more in ((asked, True), (quiet, False)):
        pool.reset([(0, seed)])
        for action in path[:3]:
            told += pool.step([(0, action)])
            if once_more:
                assert pool.gold([0]) == [path]
    assert asked == quiet


@real
def test_nonsense_is_no_action(pool: EnvironmentPool) -> None:
    pool.reset([(0, ScienceWorld(games=["boil"]).episodes()[0].seed)])
    (found,) = pool.step([(0, "sing a song")])
    assert not isinstance(found, Crash)
    assert (found.valid, found.success, found.done) == (False, False, False)
