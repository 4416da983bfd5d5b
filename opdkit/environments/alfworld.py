"""ALFWorld: household tasks as text (Shridhar et al. 2021, arXiv 2010.03768), through its own AlfredTWEnv."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdkit.environments.base import Episode, Observation, StepResult
from opdkit.environments.chat import ChatGame, same_action
from opdkit.environments.household import without_the_rest
from opdkit.environments.requirements import clean, need_choice
from opdkit.errors import UserError
from opdkit.extras import need_package

FOLDS: Mapping[str, str] = {
    "train": "train",
    "valid_seen": "eval_in_distribution",
    "valid_unseen": "eval_out_of_distribution",
}
"""Each fold, a folder of the downloaded games, with AlfredTWEnv's own name for it."""

_HOME = "alfworld.agents.environment.alfred_tw_env"
_NO_LIMIT = 1_000_000_000
_KEPT_TRANSLATIONS = 16


@dataclass(frozen=True, kw_only=True)
class ALFWorld(ChatGame):
    """The games under `path`, or in its subfolder named after the fold if it exists; the first `count`, null for all.

    path may contain environment variables and ~. Raises UserError for an unknown fold and a folder without games.
    """

    name: str = "alfworld"
    path: str = "$ALFWORLD_DATA/json_2.1.1"
    fold: str = "valid_unseen"
    count: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        need_choice("fold", self.fold, FOLDS)
        if self.count is not None and self.count < 1:
            raise UserError(f"count={self.count}: must be at least 1, or null for all")

    @property
    def folder(self) -> Path:
        """The folder of the fold's games. Raises UserError if it does not exist."""
        base = Path(os.path.expandvars(self.path)).expanduser()
        if not base.is_dir():
            raise UserError(f"path={self.path}: no such folder; `alfworld-download` fetches the games")
        return base / self.fold if (base / self.fold).is_dir() else base

    def episodes(self) -> Sequence[Episode]:
        """One episode per game, in path order. Raises UserError if the package or the games are missing."""
        folder = self.folder
        need_package("alfworld", "alfworld")
        files = game_files(folder, self.fold)
        if not files:
            raise UserError(f"path={self.path}: no game (game.tw-pddl beside traj_data.json) in {folder}")
        names = [Path(file).parent.relative_to(folder).as_posix() for file in files]
        kinds = [name.split("/")[0].split("-")[0] for name in names]
        chosen = range(len(files) if self.count is None else min(self.count, len(files)))
        return [Episode(names[number], number, kinds[number]) for number in chosen]

    def make(self) -> ALFWorldEnvironment:
        """The games in this process."""
        return ALFWorldEnvironment(self)


def game_files(folder: Path, fold: str) -> list[str]:
    """The games in a folder that AlfredTWEnv finds solvable, sorted. Raises UserError for an invalid file."""
    try:
        return sorted(_collection(folder, fold).game_files)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"path={folder}: a traj_data.json or game.tw-pddl in it can't be read ({type(error).__name__}: {error})"
        ) from None


def _collection(folder: Path, fold: str) -> Any:
    package: Any = importlib.import_module(_HOME)
    place = str(folder)
    dataset = dict.fromkeys(("data_path", "eval_id_data_path", "eval_ood_data_path"), place)
    config = {
        "dataset": {**dataset, "num_train_games": -1, "num_eval_games": -1},
        "env": {
            "goal_desc_human_anns_prob": 0,
            "task_types": [1, 2, 3, 4, 5, 6],
            "domain_randomization": False,
            "expert_type": "handcoded",
        },
        "general": {"training_method": "dqn"},
        "rl": {"training": {"max_nb_steps_per_episode": _NO_LIMIT}},
    }
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return package.AlfredTWEnv(config, train_eval=FOLDS[fold])


class ALFWorldEnvironment:
    """One game at a time behind opdkit's interface. A seed is a game's index among the sorted paths."""

    def __init__(self, source: ALFWorld) -> None:
        _keep_translations()
        self._collection = _collection(source.folder, source.fold)
        self._files: list[str] = sorted(self._collection.game_files)
        self._game: Any = None
        self._file = ""
        self._admissible: tuple[str, ...] = ()

    def reset(self, seed: int) -> Observation:
        """The room and the task."""
        self.close()
        self._file = self._files[seed]
        self._collection.game_files = [self._file]
        self._game = self._collection.init_env(batch_size=1)
        (text,), infos = self._game.reset()
        return self._observe(text, infos)

    def step(self, action: str) -> StepResult:
        """Performs one action. The game only scores won or not won."""
        meant = same_action(action, self._admissible)
        (text,), (score,), (done,), infos = self._game.step([clean(action) if meant is None else meant])
        won = bool(infos["won"][0])
        observation = self._observe(text, infos)
        return StepResult(observation, float(score), bool(done) or won, float(won), won, meant is not None)

    def gold(self) -> tuple[str, ...] | None:
        """The plan of the game's own planner, on the game without irrelevant objects; None if it finds none.

        With all objects, the search may take minutes: it considers every object that could be carried elsewhere.
        """
        textworld: Any = importlib.import_module("textworld")
        logic: Any = importlib.import_module("textworld.envs.pddl.logic")
        names = importlib.import_module(_HOME).AlfredDemangler(shuffle=False)
        game = textworld.start(self._file, textworld.EnvInfos(), wrappers=[names])
        try:
            data = json.loads(Path(self._file).read_text(encoding="utf-8"))
            domain, problem = data["pddl_domain"], without_the_rest(data["pddl_domain"], data["pddl_problem"])
            rules = logic.GameLogic(domain=domain, grammar=data["grammar"])
            state = logic.PddlState(importlib.import_module("fast_downward").load_lib(), problem, rules)
            return tuple(state.replan(game.reset()["_entity_infos"])) or None
        finally:
            game.close()

    def close(self) -> None:
        """End the game."""
        if self._game is not None:
            self._game.close()
            self._game = None

    def _observe(self, text: str, infos: Mapping[str, Any]) -> Observation:
        self._admissible = tuple(sorted(set(infos["admissible_commands"][0])))
        return Observation(text.replace("-= Welcome to TextWorld, ALFRED! =-", "").strip(), self._admissible)


def _keep_translations() -> None:
    """Caches the planner's parsed games: the package parses each four times, half a second each."""
    package: Any = importlib.import_module("fast_downward")
    if not hasattr(package.pddl2sas, "cache_info"):
        package.pddl2sas = functools.lru_cache(maxsize=_KEPT_TRANSLATIONS)(package.pddl2sas)
