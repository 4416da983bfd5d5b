"""A multi-turn episode as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EpisodeEnd = Literal["done", "turns", "context", "crashed"]


@dataclass(frozen=True)
class Transition:
    """One turn of an episode.

    Attributes:
        observation: the user turn given to the player.
        response: the player's full response.
        action: the action parsed from the response.
        valid: whether the game accepted the action.
        reward: the change in the game's score.
        tokens: the length of the response in tokens.
        truncated: whether the response was cut at the length limit.
    """

    observation: str
    response: str
    action: str
    valid: bool
    reward: float
    tokens: int
    truncated: bool


@dataclass(frozen=True)
class Trajectory:
    """A played episode.

    Attributes:
        identifier: the episode's.
        game: the episode's.
        transitions: its turns.
        ending: why it ended: the game was over, the turn limit, the context limit, or a crash of the game's process,
            after which score and success are meaningless.
        score: the final score, in [0, 1].
        success: whether the game was won.
        left_out: number of turns that no longer fitted into the player's context at the end.
        last_observation: the observation after the last action.
        detail: the reason for a crash.
    """

    identifier: str
    game: str
    transitions: tuple[Transition, ...]
    ending: EpisodeEnd
    score: float
    success: bool
    left_out: int
    last_observation: str
    detail: str = ""
