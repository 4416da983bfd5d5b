"""A teacher behind `opdkit serve`, in another process or on another machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext
from opdkit.teachers.behind_servers import TeacherBehindServers


@dataclass(frozen=True, kw_only=True)
class RemoteTeacher(TeacherBehindServers):
    """A language model behind one or more `opdkit serve` servers, with the same scores as in this process.

    Attributes:
        model: the name or fingerprint that must be served, None for any.
        token_variable: the environment variable with the access token, if the servers require one.
        concurrency: concurrent requests per server.
    """

    token_variable: str | None = "OPDKIT_TOKEN"
    concurrency: int = 2

    START: ClassVar[str] = "opdkit serve teacher=local teacher.path=... port=8700"

    @property
    def capabilities(self) -> Capabilities:
        """Everything but responses."""
        return Capabilities(text=False)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError if no server answers, or one serves another model."""
        from opdkit.teachers.served import open_served  # imports the client, an optional dependency

        return open_served(self.contact(), self.model, context)
