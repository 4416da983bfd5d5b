"""Adapts a user's environment: any object with `reset` and `step`, named by its `_target_`."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opdkit.environments.base import Episode, Observation, StepResult
from opdkit.environments.chat import ChatGame, same_action
from opdkit.errors import UserError

_TARGET = "_target_"
_NEEDED = ("reset", "step")


@dataclass(frozen=True, kw_only=True)
class Custom(ChatGame):
    """`count` episodes of an environment, with seeds from `start`.

    environment: `_target_`, the dotted path of a class or function, and its arguments. Each game is built in its
    own process, so the source needs `_recursive_: false` in yaml. The object has
    reset(seed) -> (text, admissible actions) and step(action) -> (text, reward, done, info), or returns an
    `Observation` and a `StepResult`; gold() and close() are optional. info may contain `admissible`, `score` (0 to 1),
    `success` and `valid`; by default, no actions are listed, an end with a reward above 0 is a success, the score is 1
    with success and 0 otherwise, and an action is valid unless it is missing from a given list.
    Raises UserError for any other object.
    """

    environment: Mapping[str, Any]
    name: str = "custom"
    start: int = 0
    count: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.environment, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            kind = type(self.environment).__name__
            raise UserError(f"environment is a {kind} already; write _recursive_: false beside environment in the yaml")
        if not isinstance(self.environment.get(_TARGET), str):
            raise UserError("environment names no _target_; needed: the dotted path of a class, such as mine.Game")
        if self.start < 0 or self.count < 1:
            raise UserError(f"start={self.start}, count={self.count}; allowed: start from 0, count from 1")

    def episodes(self) -> Sequence[Episode]:
        """One episode per seed. Raises UserError if the target does not exist or has no reset or step."""
        target = self._target()
        for method in _NEEDED:
            if isinstance(target, type) and not callable(getattr(target, method, None)):
                path = self.environment[_TARGET]
                raise UserError(f"environment._target_={path}: has no {method}; needed: reset(seed), step(action)")
        return [Episode(f"{self.name}/{seed}", seed, self.name) for seed in range(self.start, self.start + self.count)]

    def make(self) -> CustomEnvironment:
        """The environment in this process."""
        arguments = {key: value for key, value in self.environment.items() if key != _TARGET}
        return CustomEnvironment(self._target()(**arguments))

    def _target(self) -> Any:
        path: str = self.environment[_TARGET]
        module, _, name = path.rpartition(".")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise UserError(f"environment._target_={path}: {error}") from None


class CustomEnvironment:
    """Converts the user's object to opdkit's types."""

    def __init__(self, game: Any) -> None:
        self._game = game
        self._admissible: tuple[str, ...] = ()

    def reset(self, seed: int) -> Observation:
        """Starts the episode of that seed."""
        answer: Any = self._game.reset(seed)
        observation = answer if isinstance(answer, Observation) else Observation(answer[0], tuple(answer[1]))
        self._admissible = observation.admissible
        return observation

    def step(self, action: str) -> StepResult:
        """Performs one action."""
        answer: Any = self._game.step(action)
        result = answer if isinstance(answer, StepResult) else self._read(action, *answer)
        self._admissible = result.observation.admissible
        return result

    def gold(self) -> tuple[str, ...] | None:
        """The object's own solution, None if it has none."""
        path: Any = self._game.gold() if hasattr(self._game, "gold") else None
        return None if path is None else tuple(path)

    def close(self) -> None:
        """Closes the object, if it can be closed."""
        if hasattr(self._game, "close"):
            self._game.close()

    def _read(self, action: str, text: str, reward: float, done: bool, info: Mapping[str, Any]) -> StepResult:
        success = bool(info.get("success", done and reward > 0))
        known = not self._admissible or same_action(action, self._admissible) is not None
        return StepResult(
            observation=Observation(text, tuple(info.get("admissible", ()))),
            reward=float(reward),
            done=bool(done) or success,
            score=float(info.get("score", success)),
            success=success,
            valid=bool(info.get("valid", known)),
        )
