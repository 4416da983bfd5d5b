"""Limits calls and tokens of a text model."""

from __future__ import annotations

import threading

from opdkit.errors import RunError


class Budget:
    """Counts requests and tokens; rejects a request once a limit is reached.

    A request's tokens are only known with its answer, so concurrent requests may exceed the limit.

    Args:
        calls: maximum requests, None for no limit.
        tokens: maximum prompt plus completion tokens, None for no limit.
        spent: requests and tokens so far.
    """

    def __init__(self, calls: int | None, tokens: int | None, spent: tuple[int, int]) -> None:
        self._calls, self._tokens = calls, tokens
        self._spent_calls, self._spent_tokens = spent
        self._lock = threading.Lock()

    def take(self) -> None:
        """Counts a request before it is sent. Raises RunError if the budget is spent."""
        with self._lock:
            if self._calls is not None and self._spent_calls >= self._calls:
                raise RunError(f"text.budget_calls={self._calls} is spent: raise it and resume, what was asked is kept")
            if self._tokens is not None and self._spent_tokens >= self._tokens:
                raise RunError(
                    f"text.budget_tokens={self._tokens} is spent ({self._spent_tokens} used): raise it and resume, "
                    "what was asked is kept"
                )
            self._spent_calls += 1

    def add_tokens(self, count: int) -> None:
        """Counts the tokens of an answered request."""
        with self._lock:
            self._spent_tokens += count
