"""The settings of `opdkit serve`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opdkit.errors import UserError
from opdkit.teachers import LocalTeacher


@dataclass(frozen=True)
class Service:
    """A model that is served.

    Attributes:
        teacher: the model.
        host: the address that is listened at. Another one than loopback needs a token.
        port: 0 for a free one.
        token_variable: the environment variable that holds the token. Where it is set, requests must show it.
        queue: requests that may wait. Further ones are told to come again.
        join_tokens: requests that wait together are scored in one forward pass of so many tokens, padding included.
            0: each by itself, as the teacher in a run's own process would, to the last bit.
        packing: whether the rows of a forward pass stand one behind another, so that there is no padding; see
            `MicroBatch`.
        largest_mib: a larger request is refused.
        resolved: the configuration as plain values.
    """

    teacher: LocalTeacher
    host: str
    port: int
    token_variable: str
    queue: int
    join_tokens: int
    packing: bool
    largest_mib: int
    resolved: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.teacher, LocalTeacher):
            raise UserError(
                f"teacher: {type(self.teacher).__name__} can't be served; allowed: one that is held in this process, "
                "as teacher=local"
            )
        if not 0 <= self.port <= 65535:
            raise UserError(f"port={self.port}: must be between 0 and 65535")
        for name, least in (("queue", 1), ("join_tokens", 0), ("largest_mib", 1)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)}: must be at least {least}")
        if not self.token() and not self._loopback():
            raise UserError(
                f"host={self.host}: others can reach it, and {self.token_variable} holds no token; export one, or "
                "host=127.0.0.1"
            )

    def token(self) -> str | None:
        """What requests must show, None for nothing."""
        return os.environ.get(self.token_variable, "").strip() or None

    def _loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
