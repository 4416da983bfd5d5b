"""Defines an episode of several turns as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EpisodeEnd = Literal["done", "turns", "context", "crashed"]


@dataclass(frozen=True)
class Transition:
    """One turn of an episode: what was seen, what was said, and what came of it.

    observation: the user's turn as the player read it; response: all that it wrote, `tokens` of them, `truncated`
    where the limit cut it; action: what was read from it; valid: whether the game understood it; reward: the change
    of the game's score.
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
    """An episode that was played.

    identifier and game: those of the episode; ending: how it came to its end: the game was over, the limit of turns,
    a chat that outgrew the limit of the context, or the game's process (then score and success say nothing, and
    `detail` says why); score in [0, 1] and success: where the game stood then; left_out: turns that the player could
    no longer read at the end, since the chat was too long; last_observation: what the last action led to.
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
