"""TextWorld-Express: eight text games with a gold path each (Jansen and Cote 2022, arXiv 2208.01174)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opdkit.environments.base import Episode, Observation, StepResult
from opdkit.environments.chat import ChatGame, same_action
from opdkit.environments.requirements import clean, need_choice, need_java
from opdkit.errors import UserError
from opdkit.extras import need_package

_ROOMS = ("numLocations", "includeDoors", "limitInventorySize")
GAMES: Mapping[str, tuple[str, ...]] = {
    "cookingworld": (*_ROOMS, "numIngredients", "numDistractorItems"),
    "twc": (*_ROOMS, "numItemsToPutAway"),
    "coin": (*_ROOMS, "numDistractorItems"),
    "mapreader": (*_ROOMS, "maxDistanceApart", "maxDistractorItemsPerLocation"),
    "arithmetic": (),
    "sorting": (),
    "simonsays": ("gameLength", "numDistractors", "memorization", "verbose"),
    "peckingorder": (),
}
"""Each game, with the parameters that it takes."""

FOLDS: Mapping[str, int] = {"train": 0, "dev": 10_000, "test": 20_000}
"""Each fold, with its first seed. A fold has its own objects beside its own seeds."""

_FOLD_SIZE = 1000
_SEEDS_PER_GAME = 1_000_000
_NO_LIMIT = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class TextWorldExpress(ChatGame):
    """`count` episodes of each of `games`, from number `start` of the fold, interleaving the games.

    parameters: game -> its own settings, whole numbers, true or false (`coin: {numLocations: 3}`); unset
    ones keep the game's defaults. fold: train, dev or test. Raises UserError for an unknown game, fold or parameter.
    """

    name: str = "textworld_express"
    games: Sequence[str] = tuple(GAMES)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    fold: str = "test"
    start: int = 0
    count: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.games:
            raise UserError(f"games=[]; allowed: one or more of {', '.join(GAMES)}")
        for game in (*self.games, *self.parameters):
            need_choice("games", game, GAMES)
        if len(set(self.games)) < len(self.games):
            raise UserError(f"games={list(self.games)}: a game is named twice")
        need_choice("fold", self.fold, FOLDS)
        if self.start < 0 or self.count < 1 or self.start + self.count > _FOLD_SIZE:
            raise UserError(
                f"start={self.start}, count={self.count}: a fold has {_FOLD_SIZE} episodes of each game; "
                f"allowed: start from 0, count from 1, together at most {_FOLD_SIZE}"
            )
        for game in self.games:
            self.properties(game)

    def properties(self, game: str) -> str:
        """The game's settings in its own format, `a=1,b=0`."""
        given: Mapping[str, Any] = self.parameters.get(game) or {}
        for name, value in given.items():
            need_choice(f"parameters.{game}", name, GAMES[game])
            if not isinstance(value, int) or value < 0:
                raise UserError(f"parameters.{game}.{name}={value!r}: must be a whole number, or true or false")
        return ",".join(f"{name}={int(value)}" for name, value in given.items())

    def episodes(self) -> Sequence[Episode]:
        """The episodes of the fold. Raises UserError if the package or Java is missing."""
        need_package("textworld_express", "textworld-express")
        need_java("textworld-express")
        first, kinds = FOLDS[self.fold] + self.start, list(GAMES)
        return [
            Episode(f"{game}/{self.fold}/{seed}", kinds.index(game) * _SEEDS_PER_GAME + seed, game)
            for seed in range(first, first + self.count)
            for game in self.games
        ]

    def make(self) -> TextWorldExpressEnvironment:
        """A JVM running the games."""
        return TextWorldExpressEnvironment(self)


class TextWorldExpressEnvironment:
    """The games behind opdkit's interface. A seed is 1,000,000 times the game's index in `GAMES`, plus its own seed."""

    def __init__(self, source: TextWorldExpress) -> None:
        package: Any = importlib.import_module("textworld_express")
        self._source = source
        self._games = package.TextWorldExpressEnv(envStepLimit=_NO_LIMIT)
        self._loaded: str | None = None
        self._seed = 0
        self._done: list[str] = []
        self._admissible: tuple[str, ...] = ()

    def reset(self, seed: int) -> Observation:
        """The task and the first room."""
        self._seed, self._done = seed, []
        text, infos = self._begin()
        return self._observe(f"{infos['taskDescription']}\n\n{text}", infos)

    def step(self, action: str) -> StepResult:
        """Performs one action. Negative scores (a lost game) count as 0."""
        meant = same_action(action, self._admissible)
        self._done.append(clean(action) if meant is None else meant)
        text, reward, done, infos = self._games.step(self._done[-1])
        score = min(max(float(infos["score"]), 0.0), 1.0)
        success = bool(infos["tasksuccess"]) or score >= 1.0
        observation = self._observe(text, infos)
        return StepResult(observation, float(reward), bool(done) or success, score, success, meant is not None)

    def gold(self) -> tuple[str, ...] | None:
        """The game's own gold path, generated on demand: it makes a game several times slower."""
        self._begin(gold=True)
        path = tuple(self._games.getGoldActionSequence())
        for action in self._done:
            self._games.step(action)
        return path

    def close(self) -> None:
        """Stops the JVM."""
        self._games.close()

    def _begin(self, gold: bool = False) -> tuple[str, Mapping[str, Any]]:
        number, own = divmod(self._seed, _SEEDS_PER_GAME)
        self._load(list(GAMES)[number])
        return self._games.reset(seed=own, gameFold=self._source.fold, generateGoldPath=gold)

    def _load(self, game: str) -> None:
        if game == self._loaded:
            return
        try:
            self._games.load(game, self._source.properties(game))
        except ValueError as error:
            raise UserError(f"parameters.{game}: {error}") from None
        self._loaded = game

    def _observe(self, text: str, infos: Mapping[str, Any]) -> Observation:
        self._admissible = tuple(sorted(set(infos["validActions"])))
        return Observation(text.strip(), self._admissible)
