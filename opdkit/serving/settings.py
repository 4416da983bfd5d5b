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
    """Settings of a scoring server.

    Attributes:
        teacher: the served model.
        host: listening address. Any other than loopback needs a token.
        port: listening port, 0 for any free one.
        token_variable: environment variable with the token. If set, requests must carry it.
        queue: maximum waiting requests. Further ones are told to come again.
        join_tokens: batches waiting requests up to this many tokens per forward pass, padding included.
            0: one at a time, bit-identical to an in-process teacher.
        packing: whether rows of a forward pass are packed without padding; see `MicroBatch`.
        largest_mib: maximum request size, MiB.
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
        """The token that requests must carry, None for none."""
        return os.environ.get(self.token_variable, "").strip() or None

    def _loopback(self) -> bool:
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
