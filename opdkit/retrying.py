"""Retry policy of requests: retryable failures and wait times."""

from __future__ import annotations

from tenacity import RetryCallState, wait_random_exponential

_LONGEST_WAIT = 60.0


class PassingError(Exception):
    """A transient failure. `unreached`: no connection; `wait`: seconds requested by the server."""

    def __init__(self, reason: str, *, unreached: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.unreached = unreached
        self.wait = wait


class LastingError(Exception):
    """A permanent failure: a retry would be rejected again."""


class Wait:
    """Exponential backoff with full jitter, at least as long as the server requests."""

    def __init__(self, backoff: float) -> None:
        self._jitter = wait_random_exponential(multiplier=backoff, max=_LONGEST_WAIT)

    def __call__(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked = failure.wait if isinstance(failure, PassingError) else 0.0
        return max(self._jitter(state), asked)


def retry_after(header: str | None) -> float:
    """Parses Retry-After in seconds; 0 if invalid, capped at our longest wait."""
    try:
        seconds = float(header or 0)
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else 0.0
