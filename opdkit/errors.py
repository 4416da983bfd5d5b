"""The errors a person meets. `cli` prints their one line; everything else is a defect with a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Something the user can mend: a key, a value, a file. One line; exit status 2."""


class RunError(RuntimeError):
    """A run that cannot go on (a loss that stays non-finite, a disk that is full). One line; exit status 1."""
