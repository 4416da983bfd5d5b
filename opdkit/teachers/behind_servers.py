"""The common settings of teachers behind servers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from opdkit.extras import need_package
from opdkit.servers.contact import Contact


@dataclass(frozen=True, kw_only=True)
class TeacherBehindServers:
    """A teacher whose model is served at one or more addresses. START: the command that starts such a server.

    Attributes:
        servers: the addresses. All must serve the same model.
        timeout: time limit of a request in seconds.
        patience: time in seconds during which a failed request is retried, on any of the servers.
        backoff: in seconds; the wait before retry n is uniform between 0 and `backoff * 2**n`, at most a minute.
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
        """The connection settings of the servers."""
        return Contact(
            "teacher", tuple(self.servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, self.START,
        )  # fmt: skip
