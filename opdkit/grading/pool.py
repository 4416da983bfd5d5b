"""A pool of grading workers, started at the first request and stopped with this process."""

from __future__ import annotations

import os
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opdkit.grading.worker import WALL_SECONDS
from opdkit.processes.child import ChildProcess, Reply
from opdkit.processes.lane import Lane
from opdkit.processes.pool import ProcessPool, converse

Request = Mapping[str, Any]

_PASSED_ON = ("NLTK_DATA",)
_GRACE_SECONDS = 10.0
_REQUESTS_PER_WORKER = 16
_AHEAD = 8  # requests queued per worker, so that it never idles
_SCOUTS = 2  # timeouts of one answer after which its other references are skipped


class WorkerPool(ProcessPool):
    """Answers requests (see `grading.worker`) in up to `workers` processes, with no torch and no secrets in them.

    `ask` may be called from any thread, one call at a time. An unresponsive worker is killed and replaced; its request
    gets the status "crashed" or "timeout", never an exception. Replies are deterministic: an answer is given up by the
    amount of work it takes, measured in its own process.
    """

    def __init__(self, workers: int | None = None) -> None:
        super().__init__()
        self.size = workers or max(1, min(4, os.cpu_count() or 1))
        self._lanes = [_Lane() for _ in range(self.size)]
        self._lock = threading.Lock()

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply per request, in order."""
        if not requests:
            return []
        with self._lock:
            work = _Work(requests, self.size)
            lanes = self._lanes[: min(self.size, -(-len(requests) // _REQUESTS_PER_WORKER))]
            for lane in lanes:
                lane.take_on(work)
            converse(lanes)
            return work.finished()

    def children(self) -> Iterable[ChildProcess]:
        return [lane.child for lane in self._lanes if lane.child is not None]

    def end_children(self) -> None:
        locked = self._lock.acquire(timeout=_GRACE_SECONDS)
        try:
            for lane in self._lanes:
                lane.abandon()
        finally:
            if locked:
                self._lock.release()


class _Work:
    """The state of one call: pending requests and replies."""

    def __init__(self, requests: Sequence[Request], size: int) -> None:
        self.requests = requests
        self.starts_left = size + 1  # for workers that never become ready
        self._replies: list[Reply | None] = [None] * len(requests)
        self._waiting: deque[int] = deque()
        self._scouts: dict[str, list[int]] = defaultdict(list)
        self._behind: dict[str, list[int]] = defaultdict(list)
        for task, request in enumerate(requests):
            scouts = self._scouts[request["answer"]]
            if len(scouts) < _SCOUTS:
                scouts.append(task)
                self._waiting.append(task)
            else:
                self._behind[request["answer"]].append(task)

    def take(self) -> int | None:
        """The next task for a worker, None if there is none now."""
        return self._waiting.popleft() if self._waiting else None

    def give_back(self, tasks: Sequence[int]) -> None:
        """Returns tasks that a worker held and did not start."""
        self._waiting.extendleft(reversed(tasks))

    def answer(self, task: int, reply: Reply) -> None:
        """Stores a reply. Further requests of the same answer are then released, or get the same status."""
        self._replies[task] = reply
        answer = self.requests[task]["answer"]
        behind = self._behind.get(answer)
        if not behind:
            return
        scouts = [self._replies[scout] for scout in self._scouts[answer]]
        if None in scouts:
            return
        del self._behind[answer]
        if all(scout is not None and scout["status"] == "timeout" for scout in scouts):
            for later in behind:
                self._replies[later] = {"correct": False, "status": "timeout"}
        else:
            self._waiting.extend(behind)

    def finished(self) -> list[Reply]:
        """The replies, "crashed" if no worker could be started."""
        return [reply if reply is not None else {"correct": False, "status": "crashed"} for reply in self._replies]


class _Lane(Lane):
    """A worker and its queue of tasks; it is working on the first."""

    def __init__(self) -> None:
        super().__init__("opdkit.grading.worker", _PASSED_ON)
        self._tasks: deque[int] = deque()
        self._work: _Work | None = None

    @property
    def waits(self) -> bool:
        return self.child is not None and (not self._ready or bool(self._tasks))

    def take_on(self, work: _Work) -> None:
        """Starts on the work of a call."""
        self._work = work

    def fail(self, reason: str, detail: str) -> None:
        assert self._work is not None
        started, tasks = self._ready, list(self._tasks)
        self.abandon()
        if tasks:
            self._work.give_back(tasks[1:])
            self._work.answer(tasks[0], {"correct": False, "status": "timeout" if reason == "timeout" else "crashed"})
        self._work.starts_left -= not started
        if self._work.starts_left > 0:
            self._start()

    def _take_reply(self, reply: Reply) -> None:
        assert self._work is not None
        self._work.answer(self._tasks.popleft(), reply)

    def _forget(self) -> None:
        self._tasks.clear()

    def _send_next(self) -> None:
        """Fills the worker's queue; the timeout applies to the first task."""
        assert self._work is not None
        assert self.child is not None
        self.deadline = time.monotonic() + WALL_SECONDS + _GRACE_SECONDS
        while len(self._tasks) < _AHEAD and (task := self._work.take()) is not None:
            self._tasks.append(task)
            try:
                self.child.send(self._work.requests[task])
            except OSError:
                self.fail("crashed", "the process is gone")
                return
