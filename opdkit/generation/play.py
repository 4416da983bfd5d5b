"""Plays episodes: a policy acts in many games in parallel."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from opdkit.data.episode import EpisodeEnd, Trajectory, Transition
from opdkit.data.problem import Message
from opdkit.environments import Crash, EnvironmentSource, Episode, Observation, StepResult


class Games(Protocol):
    """Numbered slots for one episode each: the part of `EnvironmentPool` used here."""

    @property
    def source(self) -> EnvironmentSource: ...

    def __len__(self) -> int: ...

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]: ...

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]: ...

    def gold(self, slots: Sequence[int]) -> list[tuple[str, ...] | Crash | None]: ...


@dataclass
class EpisodeState:
    """The state of an episode in play.

    Attributes:
        index: its index among the episodes.
        episode: the episode to play.
        seed: the policy's random seed.
        observation: the latest observation.
        messages: the user turns so far, one for each action taken or due.
        gold: the game's own solution, for a policy that uses it.
        left_out: number of turns dropped from the policy's context.
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
        """End the episode with an unknown outcome."""
        self.ending, self.detail = "crashed", f"{crash.reason}: {crash.detail}"

    def trajectory(self) -> Trajectory:
        """The finished episode."""
        return Trajectory(
            self.episode.identifier, self.episode.game, tuple(self.transitions), self.ending or "crashed", self.score,
            self.success, self.left_out, self.observation.text, self.detail,
        )  # fmt: skip


@dataclass(frozen=True)
class Move:
    """A policy's answer to one observation: its text, the parsed action, its length in tokens, whether it was cut."""

    response: str
    action: str
    tokens: int = 0
    truncated: bool = False


class Policy(Protocol):
    """Chooses actions. Returning an ending instead of a move aborts an episode."""

    @property
    def uses_gold(self) -> bool:
        """Whether the policy reads `EpisodeState.gold`."""
        ...

    def act(self, states: Sequence[EpisodeState]) -> list[Move | EpisodeEnd]:
        """One move for each state, in order."""
        ...


def play(policy: Policy, games: Games, episodes: Iterable[tuple[Episode, int]]) -> list[EpisodeState]:
    """Play each (episode, seed) once. Returns the final states in order.

    An episode occupies a slot of `games` until it ends. All active episodes take their turns in lockstep, independently
    of each other. If a game crashes, its episode ends as neither won nor lost.
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
    """Start the next episodes in the free slots."""
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
    """Make one move in every active episode."""
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
