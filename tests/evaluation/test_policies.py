"""A random player and the gold path, in the same games as a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from opdkit.data.episode import Trajectory
from opdkit.environments import EnvironmentPool, Episode, Observation
from opdkit.errors import UserError
from opdkit.evaluation.policies import GoldPolicy, RandomPolicy
from opdkit.generation import Policy, play
from tests.environments.fake import FakeEnvironment, FakeGame


@pytest.fixture(scope="module")
def games() -> Iterator[EnvironmentPool]:
    with EnvironmentPool(FakeGame(doors=4), 3) as pool:
        yield pool


def play_policy(policy: Policy, games: EnvironmentPool, episodes: Sequence[tuple[Episode, int]]) -> list[Trajectory]:
    return [state.trajectory() for state in play(policy, games, episodes)]


def asked(count: int) -> list[tuple[Episode, int]]:
    return [(episode, 100 + place) for place, episode in enumerate(FakeGame(count=count).episodes())]


def test_the_gold_path_wins_every_episode(games: EnvironmentPool) -> None:
    found = play_policy(GoldPolicy(), games, asked(8))
    assert [trajectory.identifier for trajectory in found] == [f"fake/{seed}" for seed in range(8)]
    assert all(trajectory.success and trajectory.ending == "done" for trajectory in found)
    assert {len(trajectory.transitions) for trajectory in found} == {4}
    first = found[0].transitions[0]
    assert first.observation.startswith("Follow the signs. Door 1 of 4")
    assert first.action in first.observation
    assert found[0].transitions[1].observation.startswith("Door 2")


def test_random_actions_are_admissible_and_repeat(games: EnvironmentPool) -> None:
    found = play_policy(RandomPolicy(), games, asked(12))
    assert play_policy(RandomPolicy(), games, asked(12)) == found
    assert all(transition.valid for trajectory in found for transition in trajectory.transitions)
    assert not all(trajectory.success for trajectory in found)
    actions = [transition.action for trajectory in found for transition in trajectory.transitions]
    assert set(actions) == {"left", "right"}


def test_a_crash_and_a_limit_of_turns_end_an_episode(games: EnvironmentPool) -> None:
    crashed, fine = play_policy(GoldPolicy(), games, [(Episode("bad", 13, "doors"), 0), asked(1)[0]])
    assert (crashed.ending, fine.ending) == ("crashed", "done")
    assert crashed.detail.startswith("crashed: ")
    with EnvironmentPool(FakeGame(doors=4, max_turns=2), 1) as short:
        cut = play_policy(GoldPolicy(), short, asked(1))[0]
    assert (cut.ending, len(cut.transitions), cut.score, cut.success) == ("turns", 2, 0.5, False)


class Silent(FakeGame):
    def make(self) -> SilentEnvironment:
        return SilentEnvironment(self)


class SilentEnvironment(FakeEnvironment):
    def reset(self, seed: int) -> Observation:
        return Observation(super().reset(seed).text)

    def gold(self) -> None:
        return None


def test_a_game_without_lists_or_paths(games: EnvironmentPool) -> None:
    with EnvironmentPool(Silent(), 1) as pool:
        with pytest.raises(UserError, match="lists no admissible actions"):
            play_policy(RandomPolicy(), pool, asked(1))
        given_up = play_policy(GoldPolicy(), pool, asked(1))[0]
    assert (given_up.ending, given_up.success, given_up.transitions) == ("turns", False, ())
