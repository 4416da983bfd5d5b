"""Errors shown to the user as one line; anything else is a bug with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """An error the user can fix: a key, a value, a file. One line; exit status 2."""


class RunError(RuntimeError):
    """A run that cannot continue (a persistently non-finite loss, a full disk). One line; exit status 1."""


class Interrupted(BaseException):
    """The run was ended by a signal after saving a checkpoint. Exit status 128 + `signum`.

    Not an Exception, so that nothing between the loop and `cli` swallows it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by signal {signum}")
        self.signum = signum

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """Makes it transferable from a job's process to the sweep's."""
        return Interrupted, (self.signum,)


@contextmanager
def error_prefix(prefix: str) -> Iterator[None]:
    """Prefixes the key at the start of an error: `path=x: no such file` gets `task.`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from error
