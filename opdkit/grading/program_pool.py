"""A pool of judging processes for programs, started at the first request and stopped with this process."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opdkit.processes.child import ChildProcess, Reply
from opdkit.processes.lane import Lane
from opdkit.processes.pool import ProcessPool, converse

Request = Mapping[str, Any]

_GRACE_SECONDS = 60.0
_MOST = 32


class ProgramPool(ProcessPool):
    """One judging process (see `grading.program_worker`) per available core.

    `ask` is called by one thread at a time. An unresponsive judging process is killed with its program and
    replaced; its request gets the status "timeout" or "crashed".
    """

    def __init__(self, size: int | None = None) -> None:
        super().__init__()
        self.size = size or max(1, min(_MOST, _cores()))
        self._lanes = [_Lane() for _ in range(self.size)]

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply per request, in order."""
        replies: list[Reply | None] = [None] * len(requests)
        waiting = deque(range(len(requests)))
        lanes = self._lanes[: min(self.size, len(requests))]
        for lane in lanes:
            lane.take_on(requests, waiting, replies)
        converse(lanes)
        return [reply if reply is not None else {"status": "crashed"} for reply in replies]

    def children(self) -> Iterable[ChildProcess]:
        return [lane.child for lane in self._lanes if lane.child is not None]

    def end_children(self) -> None:
        for lane in self._lanes:
            lane.abandon()


class _Lane(Lane):
    """A judging process and its current request."""

    def __init__(self) -> None:
        super().__init__("opdkit.grading.program_worker")
        self._at: int | None = None
        self._starts_left = 0
        self._requests: Sequence[Request] = ()
        self._waiting: deque[int] = deque()
        self._replies: list[Reply | None] = []

    def take_on(self, requests: Sequence[Request], waiting: deque[int], replies: list[Reply | None]) -> None:
        """Starts on the work of a call, shared by all lanes."""
        self._requests, self._waiting, self._replies = requests, waiting, replies
        self._starts_left = 3

    @property
    def waits(self) -> bool:
        return self.child is not None and (not self._ready or self._at is not None)

    def fail(self, reason: str, detail: str) -> None:
        if self._at is not None:
            self._replies[self._at] = {"status": "timeout" if reason == "timeout" else "crashed"}
        else:
            self._starts_left -= 1
        self.abandon()
        if self._waiting and self._starts_left > 0:
            self._start()

    def _take_reply(self, reply: Reply) -> None:
        if self._at is not None:
            self._replies[self._at] = reply
            self._at = None

    def _forget(self) -> None:
        self._at = None

    def _send_next(self) -> None:
        assert self.child is not None
        if not self._waiting:
            return
        self._at = self._waiting.popleft()
        request = self._requests[self._at]
        self.deadline = time.monotonic() + _GRACE_SECONDS + request.get("patience", 0.0)
        try:
            self.child.send(request)
        except OSError:
            self.fail("crashed", "the process is gone")


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
