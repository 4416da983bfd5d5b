"""Episodes side by side: each as if it were alone, and every ending told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from opdkit.data.episode import Trajectory
from opdkit.data.problem import Message
from opdkit.generation import HFRollout, ModelPolicy, Sampling, Turn, play
from opdkit.models import LanguageModel
from tests.games import GamesHere, LetterSource
from tests.tiny import tiny_model


@dataclass(frozen=True)
class Played:
    trajectory: Trajectory
    turns: tuple[Turn, ...]
    seen: tuple[Message, ...]


def everything(logits: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(logits, dtype=torch.bool)


def policy(
    games: GamesHere, limit: int = 600, model: LanguageModel | None = None, remembers: bool = True
) -> ModelPolicy:
    model = model or tiny_model(0)
    engine = HFRollout(8, limit, 4).open(model)
    return ModelPolicy(engine, model, games.source, Sampling(1.0, everything), 8, limit, remembers)


def played(
    places: int = 4, limit: int = 600, model: LanguageModel | None = None, remembers: bool = True, **source: Any
) -> list[Played]:
    games = GamesHere(LetterSource(**source), places)
    episodes = [(episode, 7 * index) for index, episode in enumerate(games.source.episodes())]
    who = policy(games, limit, model, remembers)
    states = play(who, games, episodes)
    return [Played(state.trajectory(), who.turns(state), tuple(state.messages)) for state in states]


@pytest.mark.parametrize(("places", "limit"), [(3, 600), (8, 90)])
def test_a_chat_that_is_remembered_is_as_one_that_is_read_again(places: int, limit: int) -> None:
    kept, again = played(places, limit), played(places, limit, remembers=False)
    assert [p.trajectory for p in kept] == [p.trajectory for p in again]
    assert any(len(p.turns) > 2 for p in kept)
    assert limit == 600 or any(p.trajectory.left_out for p in kept)
    for one, other in zip(kept, again, strict=True):
        for turn, same in zip(one.turns, other.turns, strict=True):
            assert turn.prompt_ids == same.prompt_ids
            assert turn.completion.ids == same.completion.ids
            assert turn.completion.log_prob is not None
            assert same.completion.log_prob is not None
            torch.testing.assert_close(turn.completion.log_prob, same.completion.log_prob, atol=2e-5, rtol=0)


def test_what_an_episode_is_does_not_depend_on_those_beside_it() -> None:
    many, few, one = played(places=8), played(places=3), played(places=1)
    assert [p.trajectory for p in many] == [p.trajectory for p in few] == [p.trajectory for p in one]
    assert [[t.completion.ids for t in p.turns] for p in many] == [[t.completion.ids for t in p.turns] for p in one]
    assert len({p.trajectory.transitions for p in many}) == 8


def test_a_place_that_is_free_takes_the_next_episode_at_once() -> None:
    games = GamesHere(LetterSource(count=12), 4)
    found = play(policy(games), games, [(episode, index) for index, episode in enumerate(games.source.episodes())])
    turns = sum(len(state.transitions) for state in found)
    assert [state.episode.identifier for state in found] == [f"letters/{n}" for n in range(12)]
    assert sum(games.asked) == turns
    assert set(games.asked[:-5]) == {4}


def test_a_trajectory_says_what_happened() -> None:
    found = played(count=24)
    endings = {p.trajectory.ending for p in found}
    assert endings == {"done", "turns"}
    invalid = 0
    for p in found:
        trajectory = p.trajectory
        assert trajectory.success == (trajectory.ending == "done") == (trajectory.score == 1.0)
        assert len(trajectory.transitions) == len(p.turns) <= 5
        assert [e.observation for e in trajectory.transitions] == [m.content for m in p.seen[: len(p.turns)]]
        assert trajectory.transitions[0].observation.startswith("Guess the letter")
        for transition, turn in zip(trajectory.transitions, p.turns, strict=True):
            assert transition.tokens == len(turn.completion.ids)
            assert transition.truncated == (turn.completion.stop_reason == "length")
            assert transition.valid == any(letter.isalpha() for letter in transition.action)
            invalid += not transition.valid
    assert invalid > 0


def test_the_system_turn_opens_the_chat() -> None:
    model = tiny_model(0)
    found = played(model=model, system="Be brief.", count=1)
    assert model.tokenizer.decode(found[0].turns[0].prompt_ids).startswith("<user>Be brief.<user>Guess the letter")


def test_a_crash_ends_its_episode_and_no_other() -> None:
    with_crash = played(first=996, count=8)
    alone = played(first=996, count=4)
    assert [p.trajectory for p in with_crash[:4]] == [p.trajectory for p in alone]
    for p in with_crash[4:]:
        assert p.trajectory.ending in ("crashed", "done")
    crashed = [p for p in with_crash if p.trajectory.ending == "crashed"]
    assert crashed
    for p in crashed:
        assert p.trajectory.detail == "crashed: the game fell over"
        assert len(p.turns) == len(p.trajectory.transitions) == 1


def test_the_chat_outgrows_the_context() -> None:
    for p in played(limit=20):
        assert p.trajectory.ending == "context"
        assert p.turns == ()
    left_out = [p.trajectory.left_out for p in played(limit=100)]
    assert max(left_out) > 0
    assert {p.trajectory.ending for p in played(limit=60)} >= {"context"}


@pytest.mark.parametrize("text", ["\ufffd\ud800x", "<eos><user>", "a" * 1_000_000])
def test_no_response_is_too_odd(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LanguageModel, "decode", lambda self, ids: text)
    found = played(count=2, limit=2000)
    assert all(len(p.trajectory.transitions) >= 1 for p in found)
