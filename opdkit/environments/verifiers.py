"""Plays the environments of Prime Intellect's `verifiers`: data set, turns and rubric of theirs, our model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opdkit.environments.base import Episode
from opdkit.environments.chat import LONGEST_RESPONSE, ChatGame
from opdkit.environments.requirements import need_choice
from opdkit.errors import UserError
from opdkit.extras import need_package
from opdkit.untrusted import of_pythons_library

if TYPE_CHECKING:
    from opdkit.environments.verifiers_game import VerifiersGame

SPLITS = ("train", "eval")


@dataclass(frozen=True, kw_only=True)
class Verifiers(ChatGame):
    """`count` rows of an environment's data set from `start` on, each an episode.

    The environment is loaded by its own package, in a process of its own without keys or tokens. What the model
    writes is handed to it whole. Its system and example turns stand above the question in the first user's turn.

    Attributes:
        id: of the environment: the module whose `load_environment` makes it, as `verifiers` names it, or
            module:Class.
        arguments: of `load_environment`, or of the class.
        split: train, or eval for the environment's data set of evaluation.
        success_from: the reward from which an episode counts as a success. The score is the reward, cut to [0, 1].
    """

    id: str
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    name: str = "verifiers"
    split: str = "train"
    start: int = 0
    count: int = 100
    success_from: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        need_choice("split", self.split, SPLITS)
        module, _, made = self.id.replace("-", "_").split("/")[-1].partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), made or "none")):
            raise UserError(f"id={self.id!r}: no name of a module; allowed: an installed environment, or module:Class")
        if of_pythons_library(module):
            raise UserError(f"id={self.id!r}: is of Python's own library; allowed: an installed environment")
        if self.start < 0 or self.count < 1:
            raise UserError(f"start={self.start}, count={self.count}; allowed: start from 0, count from 1")

    def episodes(self) -> Sequence[Episode]:
        """One for each row. Raises UserError where the package is missing."""
        need_package("verifiers", "verifiers")
        rows = range(self.start, self.start + self.count)
        return [Episode(f"{self.name}/{self.split}/{row}", row, self.name) for row in rows]

    def make(self) -> VerifiersGame:
        """The environment in this process."""
        from opdkit.environments.verifiers_game import VerifiersGame

        return VerifiersGame(self.id, self.arguments, self.split, self.success_from)

    def read_action(self, response_text: str) -> str:
        """All that the model wrote: the environment has a parser of its own."""
        return response_text[-LONGEST_RESPONSE:]
