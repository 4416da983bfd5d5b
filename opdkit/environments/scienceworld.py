"""ScienceWorld: thirty tasks of elementary science in a simulated lab (Wang et al. 2022, arXiv 2203.07540)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opdkit.environments.base import Episode, Observation, StepResult
from opdkit.environments.chat import ChatGame, same_action
from opdkit.environments.requirements import clean, need_choice, need_java
from opdkit.errors import UserError
from opdkit.extras import need_package

TASKS: Mapping[str, tuple[int, int, int]] = {
    "boil": (14, 21, 30),
    "change-the-state-of-matter-of": (14, 21, 30),
    "chemistry-mix": (16, 24, 32),
    "chemistry-mix-paint-secondary-color": (18, 27, 36),
    "chemistry-mix-paint-tertiary-color": (18, 27, 36),
    "find-animal": (150, 225, 300),
    "find-living-thing": (150, 225, 300),
    "find-non-living-thing": (150, 225, 300),
    "find-plant": (150, 225, 300),
    "freeze": (14, 21, 30),
    "grow-fruit": (62, 93, 126),
    "grow-plant": (62, 93, 126),
    "identify-life-stages-1": (6, 9, 14),
    "identify-life-stages-2": (4, 6, 10),
    "inclined-plane-determine-angle": (84, 126, 168),
    "inclined-plane-friction-named-surfaces": (692, 1038, 1386),
    "inclined-plane-friction-unnamed-surfaces": (80, 120, 162),
    "lifespan-longest-lived": (62, 93, 125),
    "lifespan-longest-lived-then-shortest-lived": (62, 93, 125),
    "lifespan-shortest-lived": (62, 93, 125),
    "measure-melting-point-known-substance": (218, 327, 436),
    "measure-melting-point-unknown-substance": (150, 225, 300),
    "melt": (14, 21, 30),
    "mendelian-genetics-known-plant": (60, 90, 120),
    "mendelian-genetics-unknown-plant": (240, 360, 480),
    "power-component": (10, 15, 20),
    "power-component-renewable-vs-nonrenewable-energy": (10, 15, 20),
    "test-conductivity": (450, 675, 900),
    "test-conductivity-of-unknown-substances": (300, 450, 600),
    "use-thermometer": (270, 405, 540),
}
"""Each task, with where its train, dev and test variations end; each fold begins where the one before ends."""

FOLDS = ("train", "dev", "test")
_SEEDS_PER_TASK = 10_000
_NO_LIMIT = 1_000_000_000
# The lab understands more than its list of actions (`open door to kitchen` for `open kitchen door`).
_NOT_UNDERSTOOD = "No known action matches that input"


@dataclass(frozen=True, kw_only=True)
class ScienceWorld(ChatGame):
    """The first `count` variations of each of `games` (task names) in a fold, interleaving the tasks.

    A task with fewer variations gives all it has. simplifications: the package's own names, comma-separated.
    Raises UserError for an unknown task or fold.
    """

    name: str = "scienceworld"
    games: Sequence[str] = tuple(TASKS)
    fold: str = "test"
    count: int = 1
    simplifications: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.games:
            raise UserError("games=[]; allowed: one or more of ScienceWorld's tasks, for example boil")
        for game in self.games:
            need_choice("games", game, TASKS)
        if len(set(self.games)) < len(self.games):
            raise UserError(f"games={list(self.games)}: a task is named twice")
        need_choice("fold", self.fold, FOLDS)
        if self.count < 1:
            raise UserError(f"count={self.count}: must be at least 1")

    def episodes(self) -> Sequence[Episode]:
        """The variations of the fold. Raises UserError if the package or Java is missing."""
        need_package("scienceworld", "scienceworld")
        need_java("scienceworld")
        kinds = list(TASKS)
        return [
            Episode(f"{game}/{self.fold}/{variation}", kinds.index(game) * _SEEDS_PER_TASK + variation, game)
            for place in range(self.count)
            for game in self.games
            if (variation := variations(game, self.fold).start + place) in variations(game, self.fold)
        ]

    def make(self) -> ScienceWorldEnvironment:
        """A JVM running the lab."""
        return ScienceWorldEnvironment(self)


def variations(task: str, fold: str) -> range:
    """The variations of a task that belong to a fold."""
    ends = (0, *TASKS[task])
    place = FOLDS.index(fold)
    return range(ends[place], ends[place + 1])


class ScienceWorldEnvironment:
    """The lab behind opdkit's interface. A seed is 10,000 times the task's index in `TASKS`, plus the variation."""

    def __init__(self, source: ScienceWorld) -> None:
        package: Any = importlib.import_module("scienceworld")
        self._source = source
        self._lab: Any = package.ScienceWorldEnv("", envStepLimit=_NO_LIMIT)
        self._seed = 0
        self._done: list[str] = []
        self._admissible: tuple[str, ...] = ()

    def reset(self, seed: int) -> Observation:
        """The task and the first room."""
        self._seed, self._done = seed, []
        self._load(seed)
        text, infos = self._lab.reset()
        return self._observe(f"{infos['taskDesc'].strip()}\n\n{text}", infos)

    def step(self, action: str) -> StepResult:
        """Performs one action. The lab scores 0 to 100; negative scores (a fatal action) count as 0."""
        meant = same_action(action, self._admissible)
        self._done.append(clean(action) if meant is None else meant)
        text, reward, done, infos = self._lab.step(self._done[-1])
        score = min(max(float(infos["score"]) / 100.0, 0.0), 1.0)
        success = score >= 1.0
        valid = meant is not None or not text.strip().startswith(_NOT_UNDERSTOOD)
        observation = self._observe(text, infos)
        return StepResult(observation, float(reward) / 100.0, bool(done) or success, score, success, valid)

    def gold(self) -> tuple[str, ...] | None:
        """The lab's own gold path, generated on demand: it may take ten seconds and restarts the task."""
        self._load(self._seed, gold=True)
        path = tuple(self._lab.get_gold_action_sequence())
        self._load(self._seed)
        self._lab.reset()
        for action in self._done:
            self._lab.step(action)
        return path

    def close(self) -> None:
        """Stops the JVM."""
        self._lab.close()

    def _load(self, seed: int, gold: bool = False) -> None:
        number, variation = divmod(seed, _SEEDS_PER_TASK)
        chosen: str = self._source.simplifications
        try:
            self._lab.load(list(TASKS)[number], variation, chosen, generateGoldPath=gold)
        except ValueError as error:
            raise UserError(f"simplifications={chosen}: {error}") from None

    def _observe(self, text: str, infos: Mapping[str, Any]) -> Observation:
        self._admissible = tuple(sorted(set(infos["valid"])))
        return Observation(text.strip(), self._admissible)
