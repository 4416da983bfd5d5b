"""A teacher behind `opdkit serve`, on another machine or in another process of this one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opdkit.extras import need_package
from opdkit.servers.contact import Contact
from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext

_START = "opdkit serve teacher=local teacher.path=... port=8700"


@dataclass(frozen=True, kw_only=True)
class RemoteTeacher:
    """A language model behind one or several `opdkit serve`. Its scores are those that it would give in this process.

    Attributes:
        servers: their addresses. All serve the same model.
        model: the name or the fingerprint that must be served, None for any.
        token_variable: the environment variable that holds the token, where the servers ask for one.
        concurrency: requests at a time, for each server.
        timeout: seconds for one request.
        patience: seconds for which a request that fails is tried again, on any of the servers.
        backoff: seconds; the wait before retry n is drawn from 0 to `backoff * 2**n`, at most a minute.
    """

    servers: Sequence[str]
    model: str | None = None
    token_variable: str | None = "OPDKIT_TOKEN"
    concurrency: int = 2
    timeout: float = 600.0
    patience: float = 300.0
    backoff: float = 0.5

    def __post_init__(self) -> None:
        need_package("httpx", "serve")
        self._contact().check()

    @property
    def path(self) -> str:
        """See `Teacher`."""
        return self.model or ", ".join(self.servers)

    @property
    def capabilities(self) -> Capabilities:
        """All but responses of its own."""
        return Capabilities(text=False)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError where no server answers, or serves what it should not."""
        from opdkit.teachers.served import open_served  # brings the client, which is an extra

        return open_served(self._contact(), self.model, context)

    def _contact(self) -> Contact:
        return Contact(
            "teacher", tuple(self.servers), self.token_variable, self.concurrency, self.timeout, self.patience,
            self.backoff, _START,
        )  # fmt: skip
