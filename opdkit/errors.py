"""Defines the errors that a user sees as one line; anything else is a defect with a traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(ValueError):
    """Something the user can mend: a key, a value, a file. One line; exit status 2."""


class RunError(RuntimeError):
    """A run that cannot go on (a loss that stays non-finite, a disk that is full). One line; exit status 1."""


class Interrupted(BaseException):
    """A signal asked the run to end, and the run has saved itself. Exit status 128 + `signum`.

    Not an Exception: nothing between the loop and `cli` may swallow it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"interrupted by signal {signum}")
        self.signum = signum

    def __reduce__(self) -> tuple[type[Interrupted], tuple[int]]:
        """A job's process hands it to the one that started the sweep."""
        return Interrupted, (self.signum,)


@contextmanager
def error_prefix(prefix: str) -> Iterator[None]:
    """Errors begin with the key they are about; here it is completed: `path=x: no such file` after `task.`."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{prefix}{error}") from error
