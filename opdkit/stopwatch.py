"""Times what is measured and logged beside training."""

from __future__ import annotations

import time
from types import TracebackType


class Stopwatch:
    """A context that adds up the seconds spent in it. A context within it counts once.

    Work that an accelerator does later is not waited for, and so not counted.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._began = 0.0
        self._depth = 0

    def __enter__(self) -> Stopwatch:
        if self._depth == 0:
            self._began = time.perf_counter()
        self._depth += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self._seconds += time.perf_counter() - self._began

    def taken(self) -> float:
        """The seconds so far; it begins at 0 again."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


METRICS = Stopwatch()
"""Vocabulary metrics, gradient variance, diagnostics, samples: spread over the code, so one watch for the process."""
