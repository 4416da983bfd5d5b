"""Plays episodes: a policy acts in many games side by side."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from opdkit.data.episode import EpisodeEnd, Trajectory, Transition
from opdkit.data.problem import Message
from opdkit.environments import Crash, EnvironmentSource, Episode, Observation, StepResult


class Games(Protocol):
    """Places for one episode each, numbered from 0: as much of `EnvironmentPool` as is used here."""

    @property
    def source(self) -> EnvironmentSource: ...

    def __len__(self) -> int: ...

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]: ...

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]: ...

    def gold(self, slots: Sequence[int]) -> list[tuple[str, ...] | Crash | None]: ...


@dataclass
class EpisodeState:
    """One episode while it is played.

    Attributes:
        index: its place among the episodes.
        episode: which one.
        seed: of the policy's own randomness.
        observation: the newest observation.
        messages: the user's turns so far, one for each action that was or is to be taken.
        gold: the game's own solution, for a policy that uses it.
        left_out: turns that the policy could no longer read.
    """

    index: int
    episode: Episode
    seed: int
    observation: Observation = field(default_factory=lambda: Observation(""))
    messages: list[Message] = field(default_factory=list[Message])
    gold: tuple[str, ...] | None = None
    transitions: list[Transition] = field(default_factory=list[Transition])
    score: float = 0.0
    success: bool = False
    left_out: int = 0
    ending: EpisodeEnd | None = None
    detail: str = ""

    def crash(self, crash: Crash) -> None:
        """End as an episode whose outcome is unknown."""
        self.ending, self.detail = "crashed", f"{crash.reason}: {crash.detail}"

    def trajectory(self) -> Trajectory:
        """The finished episode."""
        return Trajectory(
            self.episode.identifier, self.episode.game, tuple(self.transitions), self.ending or "crashed", self.score,
            self.success, self.left_out, self.observation.text, self.detail,
        )  # fmt: skip


@dataclass(frozen=True)
class Move:
    """A policy's answer to one observation: the text, the action in it, its length in tokens, whether it was cut."""

    response: str
    action: str
    tokens: int = 0
    truncated: bool = False


class Policy(Protocol):
    """Chooses actions. An ending instead of a move gives an episode up."""

    @property
    def uses_gold(self) -> bool:
        """Whether it looks at `EpisodeState.gold`."""
        ...

    def act(self, states: Sequence[EpisodeState]) -> list[Move | EpisodeEnd]:
        """One move for each state, in order."""
        ...


def play(policy: Policy, games: Games, episodes: Iterable[tuple[Episode, int]]) -> list[EpisodeState]:
    """Each (episode, seed) played once, in order.

    An episode takes a free place of `games` and leaves it when it ends. All live episodes take their turns together.
    An episode does not depend on the others. A game that crashed ends its episode, which is then neither won nor lost.
    Raises what `policy` and `games` raise.
    """
    waiting = deque(EpisodeState(index, episode, seed) for index, (episode, seed) in enumerate(episodes))
    done: list[EpisodeState] = []
    live: dict[int, EpisodeState] = {}
    while waiting or live:
        _begin(policy, games, waiting, live)
        _take_turn(policy, games, live)
        for slot in [slot for slot, state in live.items() if state.ending is not None]:
            done.append(live.pop(slot))
    return sorted(done, key=lambda state: state.index)


def _begin(policy: Policy, games: Games, waiting: deque[EpisodeState], live: dict[int, EpisodeState]) -> None:
    """Open the next episodes in the places that are free."""
    new = {slot: waiting.popleft() for slot in range(len(games)) if slot not in live and waiting}
    openings = games.reset([(slot, state.episode.seed) for slot, state in new.items()])
    for state, opening in zip(new.values(), openings, strict=True):
        if isinstance(opening, Crash):
            state.crash(opening)
        else:
            state.observation = opening
            state.messages.append(games.source.first_message(opening))
    begun = {slot: state for slot, state in new.items() if state.ending is None}
    if policy.uses_gold:
        for state, gold in zip(begun.values(), games.gold(list(begun)), strict=True):
            if isinstance(gold, Crash):
                state.crash(gold)
            else:
                state.gold = gold
    live |= new


def _take_turn(policy: Policy, games: Games, live: dict[int, EpisodeState]) -> None:
    """One move in every live episode."""
    states = {slot: state for slot, state in live.items() if state.ending is None}
    moves: dict[int, Move] = {}
    for (slot, state), move in zip(states.items(), policy.act(list(states.values())), strict=True):
        if isinstance(move, Move):
            moves[slot] = move
        else:
            state.ending = move
    results = games.step([(slot, move.action) for slot, move in moves.items()]) if moves else []
    for (slot, move), result in zip(moves.items(), results, strict=True):
        if isinstance(result, Crash):
            states[slot].crash(result)
        else:
            _record(states[slot], games.source, move, result)


def _record(state: EpisodeState, source: EnvironmentSource, move: Move, result: StepResult) -> None:
    seen = state.messages[-1].content
    state.transitions.append(
        Transition(seen, move.response, move.action, result.valid, result.reward, move.tokens, move.truncated)
    )
    state.score, state.success, state.observation = result.score, result.success, result.observation
    if result.done:
        state.ending = "done"
    elif len(state.transitions) >= source.max_turns:
        state.ending = "turns"
    else:
        state.messages.append(source.next_message(result.observation))
