"""TextWorld-Express: what can be refused without it, and the games themselves where package and Java are there."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import psutil
import pytest

from opdkit.environments import Crash, EnvironmentPool, EnvironmentSource, Observation, StepResult
from opdkit.environments.chat import parameters
from opdkit.environments.textworld_express import FOLDS, GAMES, TextWorldExpress
from opdkit.errors import UserError
from tests.environments.test_pool import family, gone

installed = importlib.util.find_spec("textworld_express") is not None and shutil.which("java") is not None
real = pytest.mark.skipif(not installed, reason="TextWorld-Express or Java is not installed")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"games": ["coins"]}, ("'coins'", "did you mean coin?")),
        ({"games": []}, ("games=[]", "peckingorder")),
        ({"games": ["coin", "coin"]}, ("twice",)),
        ({"fold": "tests"}, ("'tests'", "did you mean test?", "train, dev, test")),
        ({"count": 1001}, ("count=1001", "1000")),
        ({"start": 999, "count": 2}, ("start=999",)),
        ({"games": ["coin"], "parameters": {"coin": {"numLocation": 3}}}, ("did you mean numLocations?",)),
        ({"games": ["coin"], "parameters": {"coin": {"numLocations": "3"}}}, ("numLocations='3'", "whole number")),
        ({"games": ["arithmetic"], "parameters": {"arithmetic": {"size": 3}}}, ("'size'", "nothing")),
    ],
)
def test_what_does_not_exist_is_refused_without_java(fields: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        TextWorldExpress(**fields)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_package_or_java_is_told_with_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(UserError, match="apt-get install default-jre-headless"):
        TextWorldExpress().episodes()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'opdkit\[textworld-express\]'"):
        TextWorldExpress().episodes()


@pytest.fixture(scope="module")
def pool() -> Iterator[EnvironmentPool]:
    with EnvironmentPool(TextWorldExpress(), 2) as opened:
        yield opened


@real
def test_folds_and_games_are_kept_apart() -> None:
    seen: set[int] = set()
    for fold in FOLDS:
        episodes = TextWorldExpress(fold=fold, count=1000).episodes()
        assert len({episode.identifier for episode in episodes}) == len(episodes) == 8000
        assert [episode.game for episode in episodes[:8]] == list(GAMES)
        seeds = {episode.seed for episode in episodes}
        assert len(seeds) == 8000
        assert not seeds & seen
        seen |= seeds
    assert isinstance(TextWorldExpress(), EnvironmentSource)
    assert TextWorldExpress(**parameters(TextWorldExpress())) == TextWorldExpress()


@real
@pytest.mark.parametrize("game", GAMES)
def test_the_gold_path_wins_and_a_seed_repeats(pool: EnvironmentPool, game: str) -> None:
    episode = TextWorldExpress(games=[game]).episodes()[1]
    assert (episode.game, episode.identifier) == (game, f"{game}/test/20001")
    first, second = pool.reset([(0, episode.seed), (1, episode.seed)])
    assert isinstance(first, Observation)
    assert first == second
    gold = pool.gold([0])[0]
    assert isinstance(gold, tuple)
    for action in gold:
        here, there = pool.step([(0, action), (1, action.upper() + " ")])
        assert here == there
        assert isinstance(here, StepResult)
        assert here.valid
        if here.done:  # a path may hold more than is needed
            break
    assert here.success
    assert here.score == 1.0


@real
def test_asking_for_the_gold_path_changes_nothing(pool: EnvironmentPool) -> None:
    seed = TextWorldExpress(games=["cookingworld"]).episodes()[3].seed
    pool.reset([(0, seed), (1, seed)])
    (path,) = pool.gold([0])
    assert isinstance(path, tuple)
    assert len(path) > 3
    assert pool.step([(0, path[0])]) == pool.step([(1, path[0])])
    assert pool.gold([0]) == [path]  # of the whole episode, also when some of it is done
    for action in path[1:]:
        assert pool.step([(0, action)]) == pool.step([(1, action)])


@real
def test_what_no_game_understands_harms_none(pool: EnvironmentPool) -> None:
    pool.reset([(0, TextWorldExpress(games=["coin"]).episodes()[0].seed)])
    before = pool.restarts
    for action in ("", "help", "x" * 300, "\ud800", "!p\x00\n\r", "c\no0\nsystem\ne\n", "take coin\n", "日本"):
        result = pool.step([(0, action)])[0]
        assert isinstance(result, StepResult)
        assert not result.valid
        assert not result.done
        assert result.score == 0.0
    assert pool.restarts == before


@real
def test_a_lost_game_scores_nothing_less_than_zero(pool: EnvironmentPool) -> None:
    opening = pool.reset([(0, TextWorldExpress(games=["simonsays"]).episodes()[0].seed)])[0]
    assert isinstance(opening, Observation)
    wrong = next(action for action in opening.admissible if f"'{action}'" not in opening.text)
    result = pool.step([(0, wrong)])[0]
    assert isinstance(result, StepResult)
    assert (result.done, result.success, result.score, result.valid) == (True, False, 0.0, True)


@real
def test_parameters_reach_the_game() -> None:
    many = TextWorldExpress(games=["coin"], parameters={"coin": {"numLocations": 300}})
    with EnvironmentPool(many, 1) as pool, pytest.raises(UserError, match=r"parameters\.coin.*300"):
        pool.reset([(0, many.episodes()[0].seed)])
    source = TextWorldExpress(games=["simonsays"], parameters={"simonsays": {"gameLength": 2}})
    with EnvironmentPool(source, 1) as pool:
        pool.reset([(0, source.episodes()[0].seed)])
        gold = pool.gold([0])[0]
    assert isinstance(gold, tuple)
    assert len(gold) == 2


@real
def test_a_dead_java_machine_is_replaced_and_none_is_left(pool: EnvironmentPool) -> None:
    episode = TextWorldExpress(games=["coin"]).episodes()[0]
    with EnvironmentPool(TextWorldExpress(), 1) as own:
        own.reset([(0, episode.seed)])
        gold = own.gold([0])[0]
        assert isinstance(gold, tuple)
        own.step([(0, gold[0])])
        alive = family(own.process_ids())
        machine = [pid for pid in alive if "java" in psutil.Process(pid).name()]
        assert len(machine) == 1
        psutil.Process(machine[0]).kill()
        for action in gold[1:]:
            result = own.step([(0, action)])[0]
            assert not isinstance(result, Crash)
        assert result.success
        assert own.restarts == 1
        alive += family(own.process_ids())
    assert gone(alive)
