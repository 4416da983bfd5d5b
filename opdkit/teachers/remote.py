"""A teacher behind `opdkit serve`, on another machine or in another process of this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from opdkit.teachers.base import Capabilities, OpenTeacher, TeacherContext
from opdkit.teachers.behind_servers import TeacherBehindServers


@dataclass(frozen=True, kw_only=True)
class RemoteTeacher(TeacherBehindServers):
    """A language model behind one or several `opdkit serve`. Its scores are those that it would give in this process.

    Attributes:
        model: the name or the fingerprint that must be served, None for any.
        token_variable: the environment variable that holds the token, where the servers ask for one.
        concurrency: requests at a time, for each server.
    """

    token_variable: str | None = "OPDKIT_TOKEN"
    concurrency: int = 2

    START: ClassVar[str] = "opdkit serve teacher=local teacher.path=... port=8700"

    @property
    def capabilities(self) -> Capabilities:
        """All but responses of its own."""
        return Capabilities(text=False)

    def open(self, context: TeacherContext) -> OpenTeacher:
        """See `Teacher`. Raises UserError where no server answers, or serves what it should not."""
        from opdkit.teachers.served import open_served  # brings the client, which is an extra

        return open_served(self.contact(), self.model, context)
