"""The interface of text environments.

An environment runs in its own process (see `pool`), which imports this module: no torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from opdkit.data.problem import Message


@dataclass(frozen=True)
class Observation:
    """What a player sees. `admissible`: the currently valid actions, empty if the game lists none."""

    text: str
    admissible: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """The result of one action.

    reward: the change of the game's own score; done: the episode is over; score: fraction of the task done, in [0, 1];
    success: the task is complete; valid: the game understood the action.
    """

    observation: Observation
    reward: float
    done: bool
    score: float
    success: bool
    valid: bool


@dataclass(frozen=True)
class Episode:
    """One episode to play: equal seeds give identical games.

    `identifier` is unique and stable within its source; `game` is the group used in tables.
    """

    identifier: str
    seed: int
    game: str


@dataclass(frozen=True)
class Crash:
    """Why an episode was aborted: its process crashed, hung or sent malformed replies, twice.

    reason is "crashed", "timeout" or "nonsense"; detail is one line. Not a loss: it says nothing about the player.
    """

    reason: str
    detail: str


@runtime_checkable
class Environment(Protocol):
    """A text game. Any object with these methods works; an exception counts as a crash of its process."""

    def reset(self, seed: int) -> Observation:
        """Starts the episode of that seed."""
        ...

    def step(self, action: str) -> StepResult:
        """Performs any player input: an invalid action changes nothing."""
        ...

    def gold(self) -> tuple[str, ...] | None:
        """Actions that solve the episode from its start, None if the game has none."""
        ...

    def close(self) -> None:
        """Releases all resources."""
        ...


@runtime_checkable
class EnvironmentSource(Protocol):
    """Episodes of one kind of game, and its chat format for models.

    A frozen dataclass whose fields are plain values (text, numbers, lists, mappings): a worker process rebuilds it from
    them and calls `make`. Nothing is loaded before use.
    """

    @property
    def name(self) -> str:
        """The source's name in files and tables."""
        ...

    @property
    def max_turns(self) -> int:
        """Maximum turns of an episode."""
        ...

    @property
    def system(self) -> str | None:
        """System prompt, None for none."""
        ...

    def episodes(self) -> Sequence[Episode]:
        """All episodes, in a fixed order. Raises UserError for bad input or a missing package."""
        ...

    def make(self) -> Environment:
        """A new environment in this process."""
        ...

    def first_message(self, observation: Observation) -> Message:
        """The first user turn of an episode."""
        ...

    def next_message(self, observation: Observation) -> Message:
        """The user turn after an action."""
        ...

    def read_action(self, response_text: str) -> str:
        """The action in the model's output, empty if there is none. Never raises for any text."""
        ...
