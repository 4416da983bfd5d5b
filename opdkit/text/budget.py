"""Limits calls and tokens of a text model."""

from __future__ import annotations

import threading

from opdkit.errors import RunError


class Budget:
    """Counts requests and tokens; refuses the request that would begin above a limit.

    A request's tokens are known when it is answered, so as many requests as run at once may end above the limit.

    Args:
        calls: the most requests, None for no limit.
        tokens: the most tokens, read and written together, None for no limit.
        spent: requests and tokens so far.
    """

    def __init__(self, calls: int | None, tokens: int | None, spent: tuple[int, int]) -> None:
        self._calls, self._tokens = calls, tokens
        self._spent_calls, self._spent_tokens = spent
        self._lock = threading.Lock()

    def take(self) -> None:
        """Count one request that is about to be sent. Raises RunError where the budget is spent."""
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
        """Count what an answered request read and wrote."""
        with self._lock:
            self._spent_tokens += count
