"""Defines the settings that teachers behind servers share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from opdkit.extras import need_package
from opdkit.servers.contact import Contact


@dataclass(frozen=True, kw_only=True)
class TeacherBehindServers:
    """A teacher whose model is served at one or several addresses. START: the command that starts such a server.

    Attributes:
        servers: their addresses. All serve the same model.
        timeout: seconds for one request.
        patience: seconds for which a request that fails is tried again, on any of the servers.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
    """

    servers: Sequence[str]
    model: str | None = None
    token_variable: str | None
    concurrency: int
    timeout: float = 600.0
    patience: float = 300.0
    backoff: float = 0.5

    START: ClassVar[str]

    def __post_init__(self) -> None:
        need_package("httpx", "serve")
        self.contact().check()

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return self.model or ", ".join(self.servers)

    def contact(self) -> Contact:
        """How the servers are reached."""
        return Contact(
            "teacher", tuple(self.servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, self.START,
        )  # fmt: skip
