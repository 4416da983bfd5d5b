"""What every text environment offers, and what passes between it and those who play it.

An environment lives in a process of its own (see `pool`) and this module starts with it: no torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from opdkit.data.problem import Message


@dataclass(frozen=True)
class Observation:
    """What a player sees. `admissible`: the actions that would be understood now, empty where the game lists none."""

    text: str
    admissible: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepResult:
    """What one action led to.

    reward: the change of the game's own score; done: the episode is over; score: in [0, 1], how much of the task is
    done now; success: the task is done wholly; valid: whether the action was one that the game understands.
    """

    observation: Observation
    reward: float
    done: bool
    score: float
    success: bool
    valid: bool


@dataclass(frozen=True)
class Episode:
    """One episode to play: the same seed is the same game, word for word.

    `identifier` is unique and stable within its source; `game` is the group that tables count by.
    """

    identifier: str
    seed: int
    game: str


@dataclass(frozen=True)
class Crash:
    """Why an episode could not be played on: its process died, hung or answered nonsense, twice.

    reason is "crashed", "timeout" or "nonsense"; detail is one line. Not a loss: it says nothing of the player.
    """

    reason: str
    detail: str


@runtime_checkable
class Environment(Protocol):
    """A text game. Any object with these methods will do; what it raises counts as a crash of its process."""

    def reset(self, seed: int) -> Observation:
        """Begin the episode of that seed."""
        ...

    def step(self, action: str) -> StepResult:
        """Do what a player said, whatever it is: an action that is not understood changes nothing."""
        ...

    def gold(self) -> tuple[str, ...] | None:
        """Actions that solve the episode from its start, None where the game tells none."""
        ...

    def close(self) -> None:
        """End whatever was started."""
        ...


@runtime_checkable
class EnvironmentSource(Protocol):
    """Episodes of one kind of game, and how a model talks with it.

    A frozen dataclass whose fields are plain values (text, numbers, lists, mappings): a worker process builds its
    own from them and calls `make` there. Nothing is loaded before it is asked for.
    """

    @property
    def name(self) -> str:
        """What the source is called in file names and tables."""
        ...

    @property
    def max_turns(self) -> int:
        """Actions after which an unfinished episode is ended."""
        ...

    @property
    def system(self) -> str | None:
        """The system's turn, None for none."""
        ...

    def episodes(self) -> Sequence[Episode]:
        """All episodes, in a fixed order. Raises UserError for bad input, and where a package is missing."""
        ...

    def make(self) -> Environment:
        """A new environment in this process."""
        ...

    def first_message(self, observation: Observation) -> Message:
        """The user's turn that opens the episode."""
        ...

    def next_message(self, observation: Observation) -> Message:
        """The user's turn after an action."""
        ...

    def read_action(self, response_text: str) -> str:
        """The action in what the model wrote; an empty text where it gives none. No text raises."""
        ...
