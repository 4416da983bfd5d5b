"""Episodes as a benchmark: what is counted, what is left out, and what is saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from opdkit.data.episode import EpisodeEnd, Trajectory, Transition
from opdkit.environments import Episode
from opdkit.errors import RunError, UserError
from opdkit.evaluation import EpisodeBenchmark, run_episodes
from opdkit.evaluation.statistics import bootstrap_interval, stratified_interval
from tests.environments.fake import FakeGame


class TwoGames(FakeGame):
    def episodes(self) -> Sequence[Episode]:
        return [Episode(f"{game}/{seed}", seed, game) for seed in range(self.count) for game in ("one", "two")]


class OneEach(FakeGame):
    def episodes(self) -> Sequence[Episode]:
        return [Episode(f"{game}/0", 0, game) for game in ("one", "two", "three")]


def benchmark(**fields: object) -> EpisodeBenchmark:
    return EpisodeBenchmark("fake", TwoGames(count=4), sampler=None, **fields)  # pyright: ignore


def told(episode: Episode, score: float, valid: Sequence[bool], ending: EpisodeEnd = "done") -> Trajectory:
    transitions = tuple(Transition("seen", "said\x1b[31m", "said", known, 0.0, 7, False) for known in valid)
    return Trajectory(episode.identifier, episode.game, transitions, ending, score, score == 1.0, 0, "end", "why")


class Scripted:
    """Wins game one after two actions, scores a half in game two with a turn that is not understood."""

    def __init__(self, crashing: Sequence[str] = ()) -> None:
        self.crashing = crashing
        self.asked: list[tuple[str, int]] = []

    def __call__(self, episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
        self.asked += [(episode.identifier, seed) for episode, seed in episodes]
        return [self._one(episode) for episode, _ in episodes]

    def _one(self, episode: Episode) -> Trajectory:
        if episode.identifier in self.crashing:
            return told(episode, 0.0, [True], "crashed")
        return (
            told(episode, 1.0, [True] * 2) if episode.game == "one" else told(episode, 0.5, [True, False, True, True])
        )


def test_the_numbers_of_two_games(tmp_path: Path) -> None:
    summary = run_episodes(Scripted(), benchmark(n_samples=2), 0, tmp_path)
    assert (summary["success"], summary["pass@1"], summary["score"]) == (0.5, 0.5, 0.75)
    assert summary["n_problems"] == 8
    assert summary["n_played"] == 16
    assert summary["steps_mean"] == 3.0
    assert summary["steps_won_mean"] == 2.0
    assert summary["invalid_rate"] == pytest.approx(8 / 48)
    assert summary["response_tokens_mean"] == 7.0
    assert summary["n_crashed"] == 0
    assert summary["ci95"] == [0.5, 0.5], "within a game nothing varies"
    assert (summary["games"]["one"]["success"], summary["games"]["two"]["success"]) == (1.0, 0.0)
    assert json.loads((tmp_path / "fake.json").read_text()) == summary


def test_a_crashed_episode_is_neither_won_nor_lost(tmp_path: Path) -> None:
    summary = run_episodes(Scripted(["one/0", "one/2", "two/3"]), benchmark(), 0, tmp_path)
    assert summary["n_crashed"] == 3
    assert summary["n_played"] == 5
    assert summary["success"] == 2 / 5
    assert summary["games"]["one"]["n_played"] == 2
    rows = [json.loads(line) for line in (tmp_path / summary["responses"]).read_text().splitlines()]
    assert [row["success"] for row in rows if row["ending"] == "crashed"] == [None] * 3
    assert rows[0]["detail"] == "why"


def test_where_all_crash_there_is_no_number(tmp_path: Path) -> None:
    every = [episode.identifier for episode in benchmark().problems()]
    with pytest.raises(RunError, match="all 8 episodes crashed; the first: why"):
        run_episodes(Scripted(every), benchmark(), 0, tmp_path)
    assert len((tmp_path / "fake.responses.jsonl").read_text().splitlines()) == 8, "nothing is lost"


def test_a_transcript_is_kept_whole_and_in_ascii(tmp_path: Path) -> None:
    run_episodes(Scripted(), benchmark(limit=2), 0, tmp_path, "random")
    data = (tmp_path / "fake.random.responses.jsonl").read_bytes()
    assert b"\x1b" not in data
    row = json.loads(data.splitlines()[1])
    assert (row["episode"], row["game"], row["steps"], row["invalid"], row["tokens"]) == ("two/0", "two", 4, 1, 28)
    assert row["exchanges"][1] == {
        "observation": "seen", "response": "said\x1b[31m", "action": "said", "valid": False, "reward": 0.0,
        "tokens": 7, "truncated": False,
    }  # fmt: skip
    assert row["last_observation"] == "end"


def test_it_goes_on_after_the_last_whole_row_and_seeds_do_not_change(tmp_path: Path) -> None:
    whole = Scripted()
    expected = run_episodes(whole, benchmark(chunk=3), 5, tmp_path / "a")
    run_episodes(Scripted(), benchmark(chunk=3), 5, tmp_path / "b")
    file = tmp_path / "b" / "fake.responses.jsonl"
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:3]) + b'{"episode": "o')
    rest = Scripted()
    assert run_episodes(rest, benchmark(chunk=64), 5, tmp_path / "b") == expected
    assert rest.asked == whole.asked[3:]
    assert len({seed for _, seed in whole.asked}) == 8
    with pytest.raises(UserError, match="seed was 5 and is 6"):
        run_episodes(Scripted(), benchmark(), 6, tmp_path / "b")


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"n_samples": 0}, "n_samples=0"),
        ({"places": 0}, "places=0"),
        ({"temperature": 0.0}, "temperature=0"),
        ({"baselines": ["golden"]}, "baselines=golden"),
        ({"path": "/nowhere"}, "path=/nowhere"),
    ],
)
def test_values_out_of_range_are_refused(fields: dict, word: str) -> None:
    with pytest.raises(UserError) as caught:
        benchmark(**fields)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_games_of_one_episode_are_not_known_exactly(tmp_path: Path) -> None:
    low, high = run_episodes(Scripted(), EpisodeBenchmark("fake", OneEach(count=1), sampler=None), 0, tmp_path)["ci95"]
    assert (low, high) == (0.0, 1.0)


def test_an_interval_keeps_each_games_share() -> None:
    apart = [np.array([1.0] * 5), np.array([0.0] * 15)]
    assert stratified_interval(apart, 0) == (0.25, 0.25)
    low, high = bootstrap_interval(np.concatenate(apart), 0)
    assert low < 0.15
    assert high > 0.35
    mixed = [np.array([0.0, 1.0] * 50), np.array([0.0] * 100)]
    low, high = stratified_interval(mixed, 0)
    assert low == pytest.approx(0.25 - 1.96 * 0.025, abs=0.01)
    assert high == pytest.approx(0.25 + 1.96 * 0.025, abs=0.01)
    with pytest.raises(ValueError, match="no values"):
        stratified_interval([np.array([])], 0)
