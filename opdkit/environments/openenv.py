"""OpenEnv environments behind a server: each episode is a WebSocket session."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opdkit.environments.base import Episode
from opdkit.environments.chat import LONGEST_RESPONSE
from opdkit.environments.openenv_fields import OpenEnvFields, fetched
from opdkit.extras import need_package

if TYPE_CHECKING:
    from opdkit.environments.openenv_game import OpenEnvGame


@dataclass(frozen=True, kw_only=True)
class OpenEnv(OpenEnvFields):
    """`count` episodes of an environment behind a server, with seeds from `start`.

    Neither the environment nor OpenEnv is installed or run here: actions and observations are JSON. The action is the
    model's answer without its reasoning; `action_pattern` selects a part of it.
    """

    def episodes(self) -> Sequence[Episode]:
        """One episode per seed. Raises UserError if the package is missing or no server answers."""
        need_package("websockets", "openenv")
        fetched(self.server, "/health", "server")
        seeds = range(self.start, self.start + self.count)
        return [Episode(f"{self.name}/{seed}", seed, self.name) for seed in seeds]

    def make(self) -> OpenEnvGame:
        """A client of the server's environment, with one session per episode."""
        from opdkit.environments.openenv_game import OpenEnvGame

        return OpenEnvGame(self)

    def read_action(self, response_text: str) -> str:
        """The answer without its reasoning, or the part matched by `action_pattern`, possibly multi-line."""
        text = response_text[-LONGEST_RESPONSE:].rpartition("</think>")[2]
        if self.action_pattern is not None:
            found = [match.group(1) or "" for match in re.finditer(self.action_pattern, text)]
            text = found[-1] if found else ""
        return text.strip()
