"""A small game without Java, whose actions can also hang it, kill it or make it lie."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from opdkit.environments.base import Episode, Observation, StepResult
from opdkit.environments.chat import ChatGame, same_action

WAYS = ("left", "right")


@dataclass(frozen=True, kw_only=True)
class FakeGame(ChatGame):
    """`doors` doors, each with a sign that tells the way; a wrong way ends the episode.

    folder: where the fault "once" leaves its mark, so that only its first time kills; shifting: the game is not
    the same the second time.
    """

    name: str = "fake"
    doors: int = 3
    count: int = 8
    folder: str = ""
    shifting: bool = False
    first_template: str = "Follow the signs. {observation} ({admissible})"

    def episodes(self) -> Sequence[Episode]:
        return [Episode(f"fake/{seed}", seed, "doors") for seed in range(self.count)]

    def make(self) -> FakeEnvironment:
        return FakeEnvironment(self)


class FakeEnvironment:
    """Understands left, right, wait, and the faults of `_fault`."""

    def __init__(self, game: FakeGame) -> None:
        self._game = game
        self._way: tuple[str, ...] = ()
        self._passed = 0

    def reset(self, seed: int) -> Observation:
        if seed == 13:
            os._exit(3)
        entropy = time.monotonic_ns() if self._game.shifting else seed
        chosen = random.Random(entropy)
        self._way = tuple(chosen.choice(WAYS) for _ in range(self._game.doors))
        self._passed = 0
        return self._observe(f"({entropy}) " if self._game.shifting else "")

    def step(self, action: str) -> StepResult:
        result = self._fault(action)
        if result is not None:
            return result
        meant = same_action(action, (*WAYS, "wait"))
        if meant in (None, "wait"):
            return self._result(0.0, False, meant is not None)
        right = meant == self._way[self._passed]
        self._passed += right
        return self._result(1.0 if right else 0.0, not right or self._passed == len(self._way), True)

    def gold(self) -> tuple[str, ...] | None:
        return self._way

    def close(self) -> None:
        pass

    def _observe(self, before: str = "") -> Observation:
        sign = self._way[self._passed] if self._passed < len(self._way) else "none"
        return Observation(f"{before}Door {self._passed + 1} of {len(self._way)}, the sign says {sign}.", WAYS)

    def _result(self, reward: float, done: bool, valid: bool) -> StepResult:
        score = self._passed / len(self._way)
        return StepResult(self._observe(), reward, done, score, score == 1.0, valid)

    def _fault(self, action: str) -> StepResult | None:
        good: Any = self._result(0.0, False, True)
        if action == "hang":
            time.sleep(1000)
        if action == "hang in C":
            ctypes.PyDLL(None).sleep(1000)  # holds the interpreter's lock
        if action == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if action == "raise":
            raise OSError("the game is broken\nin two lines")
        if action == "chatter":
            print('{"result": "not a reply"}', flush=True)
            return good
        if action == "once":
            mark = Path(self._game.folder) / "mark"
            if not mark.exists():
                mark.touch()
                os._exit(1)
            return good
        lies = {
            "lie score": {"score": 1.5},
            "lie nan": {"reward": float("nan")},
            "lie type": {"done": "yes"},
            "lie text": {"observation": None},
            "lie success": {"success": True, "score": 0.2, "done": False},
        }
        return replace(good, **lies[action]) if action in lies else None
