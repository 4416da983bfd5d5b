"""What is said of an OpenEnv environment behind a server, and how the server is asked over HTTP."""

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
        server: its address, http(s)://host[:port].
        action: the field of an action that the answer fills, `json` where the answer is the whole action as a JSON
            object, `tools` where it calls tools (MCP). None for what the server's schema leaves open.
        constants: further fields of each action.
        shown: the fields of an observation that are shown, none for all that hold something.
        admissible: the field of an observation that lists the actions, None for none.
        reset: arguments of the environment's reset beside the seed.
        returns: an episode's reward is the sum of those of its steps, or the last of them. The score is that, cut to
            [0, 1].
        success_from: the reward from which an episode counts as a success.
        patience: seconds for which a server whose sessions are all taken is asked again.
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
    """What a server answers to GET, without a proxy. Raises UserError where it does not."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(server.rstrip("/") + path, timeout=_GREETING_SECONDS) as answer:
            return answer.read(1 << 22)
    except urllib.error.HTTPError as error:
        raise UserError(f"{key}={server}: is no OpenEnv server (GET {path}: HTTP {error.code})") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{key}={server}: no OpenEnv server answers ({reason})") from None
