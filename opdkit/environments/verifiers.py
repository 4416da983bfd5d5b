"""Environments of Prime Intellect's `verifiers`, with their dataset, turns and rubric."""

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
    """`count` rows of an environment's dataset from `start`, one episode each.

    The environment is loaded by its own package, in its own process without keys or tokens. Model output is passed to
    it unchanged. Its system and example turns precede the question in the first user turn.

    Attributes:
        id: the environment: a module with `load_environment`, as named by `verifiers`, or module:Class.
        arguments: arguments of `load_environment` or of the class.
        split: train, or eval for the environment's evaluation dataset.
        success_from: minimum reward of a successful episode. The score is the reward, cut to [0, 1].
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
        """One episode per row. Raises UserError if the package is missing."""
        need_package("verifiers", "verifiers")
        rows = range(self.start, self.start + self.count)
        return [Episode(f"{self.name}/{self.split}/{row}", row, self.name) for row in rows]

    def make(self) -> VerifiersGame:
        """The environment in this process."""
        from opdkit.environments.verifiers_game import VerifiersGame

        return VerifiersGame(self.id, self.arguments, self.split, self.success_from)

    def read_action(self, response_text: str) -> str:
        """The full model output: the environment has its own parser."""
        return response_text[-LONGEST_RESPONSE:]
