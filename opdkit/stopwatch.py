"""Measures the time spent on metrics and logging rather than training."""

from __future__ import annotations

import threading
import time
from types import TracebackType


class Stopwatch:
    """A context that sums the seconds spent in it by all threads. Nested uses in one thread count once.

    Asynchronous GPU work is not waited for, and so not counted.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._adding = threading.Lock()
        self._of_thread = _Thread()

    def __enter__(self) -> Stopwatch:
        if self._of_thread.depth == 0:
            self._of_thread.began = time.perf_counter()
        self._of_thread.depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._of_thread.depth -= 1
        if self._of_thread.depth == 0:
            with self._adding:
                self._seconds += time.perf_counter() - self._of_thread.began

    def taken(self) -> float:
        """The seconds so far. Resets to 0."""
        with self._adding:
            seconds, self._seconds = self._seconds, 0.0
        return seconds


class _Thread(threading.local):
    """A thread's nesting depth in the context, and when it entered."""

    depth: int = 0
    began: float = 0.0


METRICS = Stopwatch()
"""The time of vocabulary metrics, gradient variance, diagnostics and samples: one stopwatch for the process."""
