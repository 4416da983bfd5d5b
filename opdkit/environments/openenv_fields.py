"""Settings of an OpenEnv environment behind a server, and HTTP requests to the server."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from opdkit.addresses import address_fault
from opdkit.environments.chat import ChatGame
from opdkit.environments.requirements import need_choice
from opdkit.errors import UserError

Returns = Literal["sum", "last"]
_GREETING_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class OpenEnvFields(ChatGame):
    """The settings of `OpenEnv`.

    Attributes:
        server: the server's address, http(s)://host[:port].
        action: the field that the answer fills, `json` if the answer is the whole action as a JSON object, `tools`
            if it calls tools (MCP). None: inferred from the server's schema.
        constants: additional fields of each action.
        shown: observation fields to show, empty for all non-empty ones.
        admissible: observation field that lists the admissible actions, None for none.
        reset: arguments of the environment's reset, besides the seed.
        returns: an episode's reward is the sum of its step rewards, or the last one. The score is the reward clipped
            to [0, 1].
        success_from: minimum reward of a successful episode.
        patience: seconds to wait for a free session on the server.
    """

    server: str
    action: str | None = None
    constants: Mapping[str, Any] = field(default_factory=dict[str, Any])
    shown: Sequence[str] = ()
    admissible: str | None = None
    reset: Mapping[str, Any] = field(default_factory=dict[str, Any])
    returns: Returns = "sum"
    success_from: float = 1.0
    patience: float = 60.0
    name: str = "openenv"
    start: int = 0
    count: int = 100

    def __post_init__(self) -> None:
        super().__post_init__()
        fault = address_fault(self.server)
        if fault is not None:
            held = "holds a name, a password or a query" if fault == "secret" else "is no address"
            raise UserError(
                f"server={self.server if fault == 'form' else '...'}: {held}; needed: http(s)://host[:port]"
            )
        need_choice("returns", self.returns, get_args(Returns))
        if self.start < 0 or self.count < 1:
            raise UserError(f"start={self.start}, count={self.count}; allowed: start from 0, count from 1")
        if not self.patience >= 0:
            raise UserError(f"patience={self.patience}; allowed: 0 or more seconds")


def fetched(server: str, path: str, key: str) -> bytes:
    """The server's response to GET, without a proxy. Raises UserError if it fails."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(server.rstrip("/") + path, timeout=_GREETING_SECONDS) as answer:
            return answer.read(1 << 22)
    except urllib.error.HTTPError as error:
        raise UserError(f"{key}={server}: is no OpenEnv server (GET {path}: HTTP {error.code})") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{key}={server}: no OpenEnv server answers ({reason})") from None
