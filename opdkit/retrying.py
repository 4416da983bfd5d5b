"""Decides which failures of a request are retried, and how long to wait."""

from __future__ import annotations

from tenacity import RetryCallState, wait_random_exponential

_LONGEST_WAIT = 60.0


class PassingError(Exception):
    """A failure that may pass. `unreached`: nothing answered at the address; `wait`: seconds the server asks for."""

    def __init__(self, reason: str, *, unreached: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.unreached = unreached
        self.wait = wait


class LastingError(Exception):
    """This request was refused and would be again."""


class Wait:
    """Exponential with full jitter, and not below what the server asks for."""

    def __init__(self, backoff: float) -> None:
        self._jitter = wait_random_exponential(multiplier=backoff, max=_LONGEST_WAIT)

    def __call__(self, state: RetryCallState) -> float:
        failure = state.outcome.exception() if state.outcome is not None else None
        asked = failure.wait if isinstance(failure, PassingError) else 0.0
        return max(self._jitter(state), asked)


def retry_after(header: str | None) -> float:
    """Seconds; 0 for what is no number, and never longer than our own longest wait."""
    try:
        seconds = float(header or 0)
    except ValueError:
        return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT) if seconds == seconds else 0.0
