"""Ends a run after its step on SIGINT or SIGTERM; a second signal ends it at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """`signal_number` is None until a signal has asked for the end."""

    def __init__(self) -> None:
        self.signal_number: int | None = None


@contextmanager
def graceful_stop() -> Iterator[StopRequest]:
    """Catch SIGINT and SIGTERM in the main thread; elsewhere, nothing is caught."""
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
