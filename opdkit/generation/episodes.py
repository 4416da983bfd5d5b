"""Settings of multi-turn episodes, and the split of their turns into training rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from opdkit.errors import UserError
from opdkit.generation.base import Engine, EngineSpec
from opdkit.generation.correction import EngineCorrection
from opdkit.generation.hf import HFRollout
from opdkit.generation.pack import Turn
from opdkit.models import LanguageModel

Form = Literal["turns", "episode"]
Outcome = Literal["success", "score"]


@dataclass(frozen=True)
class EpisodeRollout:
    """How episodes are played and split into rows.

    batch_size, cache_gib, keep_cache and side_by_side do not affect the result.

    Attributes:
        max_new_tokens: the maximum length of an answer.
        max_prompt_tokens: the maximum length of a turn's prompt. If the chat is longer, its oldest turns are dropped
            and counted.
        batch_size: answers decoded at once.
        form: what a training row is. turns: each answer is its own response, with the chat so far as its prompt (the
            paper's form). episode: all answers of an episode form one response, with the environment's tokens between
            them as context outside the loss; a new row starts where turns were dropped.
        reward: the reward of each row, the episode's success (0 or 1) or its score (0 to 1).
        side_by_side: episodes played at once, each game in its own process.
        cache_gib: see `HFRollout`.
        keep_cache: whether to keep a chat's key-value cache between turns. Otherwise each turn prefills the whole chat,
            which gives the same tokens up to rounding.
        engine: another engine to use instead of the one in this process, with the same limits.
    """

    max_new_tokens: int = 128
    max_prompt_tokens: int = 256
    batch_size: int = 64
    form: Form = "turns"
    reward: Outcome = "success"
    side_by_side: int = 16
    cache_gib: float | None = None
    engine: EngineSpec | None = None
    keep_cache: bool = True

    def __post_init__(self) -> None:
        HFRollout(self.max_new_tokens, self.max_prompt_tokens, self.batch_size, cache_gib=self.cache_gib)
        for name, choices in (("form", get_args(Form)), ("reward", get_args(Outcome))):
            if getattr(self, name) not in choices:
                raise UserError(f"rollout.{name}={getattr(self, name)!r} must be one of {', '.join(choices)}")
        if self.side_by_side < 1:
            raise UserError(f"rollout.side_by_side={self.side_by_side} must be at least 1")
        if self.engine is not None:
            for name in ("max_new_tokens", "max_prompt_tokens"):
                if getattr(self.engine, name) < getattr(self, name):
                    raise UserError(f"rollout.engine.{name}={getattr(self.engine, name)} is below rollout.{name}")

    @property
    def correction(self) -> EngineCorrection:
        """The engine's correction."""
        return EngineCorrection() if self.engine is None else self.engine.correction

    def in_process(self) -> EpisodeRollout:
        """See `EngineSpec`."""
        return replace(self, engine=None)

    def open(self, model: LanguageModel) -> Engine:
        """See `EngineSpec`."""
        own = HFRollout(self.max_new_tokens, self.max_prompt_tokens, self.batch_size, cache_gib=self.cache_gib)
        return (self.engine or own).open(model)

    def rows(self, turns: Sequence[Turn]) -> list[tuple[Turn, ...]]:
        """The turns of one episode, grouped by row."""
        if self.form == "turns":
            return [(turn,) for turn in turns]
        cut: list[list[Turn]] = []
        for turn in turns:
            if cut and _continues(cut[-1][-1], turn):
                cut[-1].append(turn)
            else:
                cut.append([turn])
        return [tuple(row) for row in cut]


def _continues(before: Turn, turn: Turn) -> bool:
    """Whether a turn's prompt starts with the previous turn's prompt and answer."""
    whole = before.prompt_ids + before.completion.ids
    return turn.prompt_ids[: len(whole)] == whole
