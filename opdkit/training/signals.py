"""Stops a run after the current step on SIGINT or SIGTERM; a second signal stops it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """`signal_number` is None until a stop signal arrives."""

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Handle SIGINT and SIGTERM in the main thread; in another thread this does nothing."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        request.signal_number = number
        signal.signal(number, before[signal.Signals(number)])

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
