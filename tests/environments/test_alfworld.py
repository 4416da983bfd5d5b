"""ALFWorld: what can be refused without it, and the games themselves where package and games are there."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from opdkit.environments import ALFWorld, Crash, EnvironmentPool, EnvironmentSource, Observation, StepResult
from opdkit.errors import UserError

GAMES = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "alfworld_style"
real = pytest.mark.skipif(
    importlib.util.find_spec("alfworld") is None or not GAMES.is_dir(), reason="ALFWorld or its games are not here"
)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"fold": "valid_sen"}, ("'valid_sen'", "did you mean valid_seen?")),
        ({"count": 0}, ("count=0", "at least 1")),
    ],
)
def test_what_does_not_exist_is_refused(fields: dict, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        ALFWorld(**fields)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_folder_and_a_missing_package_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"path=.*nowhere: no such folder; `alfworld-download`"):
        ALFWorld(path=str(tmp_path / "nowhere")).episodes()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'opdkit\[alfworld\]'"):
        ALFWorld(path=str(tmp_path)).episodes()


def test_a_fold_is_a_folder_of_its_own_where_there_is_one(tmp_path: Path) -> None:
    assert ALFWorld(path=str(tmp_path), fold="train").folder == tmp_path
    (tmp_path / "train").mkdir()
    assert ALFWorld(path=str(tmp_path), fold="train").folder == tmp_path / "train"


@real
def test_a_folder_without_games_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no game"):
        ALFWorld(path=str(tmp_path)).episodes()


@real
@pytest.mark.parametrize("text", ["{", "{}", "[]", '{"task_type": "pick_two_obj_and_place"'])
def test_a_file_that_is_no_game_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "traj_data.json").write_text(text)
    (tmp_path / "game.tw-pddl").write_text("")
    with pytest.raises(UserError, match="can't be read") as caught:
        ALFWorld(path=str(tmp_path)).episodes()
    assert "\n" not in str(caught.value)


@real
def test_every_gold_path_wins_also_where_two_objects_are_asked_for() -> None:
    source = ALFWorld(path=str(GAMES))
    episodes = source.episodes()
    with EnvironmentPool(source, 1) as pool:
        for episode in (episodes[0], episodes[-1]):
            pool.reset([(0, episode.seed)])
            (path,) = pool.gold([0])
            assert isinstance(path, tuple)
            assert len(path) <= 12
            result = [pool.step([(0, action)])[0] for action in path][-1]
            assert isinstance(result, StepResult)
            assert result.success


@real
def test_the_gold_path_wins_and_a_seed_repeats() -> None:
    source = ALFWorld(path=str(GAMES))
    assert isinstance(source, EnvironmentSource)
    episodes = source.episodes()
    assert len(episodes) == 10
    assert len({episode.game for episode in episodes}) == 5
    with EnvironmentPool(source, 2) as pool:
        first, second = pool.reset([(0, episodes[2].seed), (1, episodes[2].seed)])
        assert isinstance(first, Observation)
        assert first == second
        assert "Your task is to" in first.text
        (path,) = pool.gold([0])
        assert isinstance(path, tuple)
        (odd,) = pool.step([(1, "sing a song")])
        assert isinstance(odd, StepResult)
        assert (odd.valid, odd.success) == (False, False)
        found: StepResult | Crash | None = None
        for action in path:
            (found,) = pool.step([(0, action)])
            assert isinstance(found, StepResult)
            assert found.valid
        assert isinstance(found, StepResult)
        assert (found.success, found.done, found.score) == (True, True, 1.0)
