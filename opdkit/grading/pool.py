"""A few grading workers, started when the first request comes and gone when this process is."""

from __future__ import annotations

import atexit
import os
import selectors
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from opdkit.grading.worker import WALL_SECONDS
from opdkit.processes.child import ChildProcess, Reply

Request = Mapping[str, Any]

_START_SECONDS = 120.0
_GRACE_SECONDS = 10.0
_REQUESTS_PER_WORKER = 16
_PATIENCE = 2  # time-outs of one answer, after which it is not tried on further references


@dataclass
class _Worker:
    process: ChildProcess
    ready: bool = False
    task: int | None = None
    deadline: float = 0.0


class WorkerPool:
    """Answers requests (see `grading_worker`) in up to `workers` processes, with no torch and no secrets in them.

    `ask` may be called from any thread, one call at a time. A worker that stops answering is killed and replaced;
    its request is answered with the status "crashed" or "timeout", never with an exception.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.size = workers or max(1, min(4, os.cpu_count() or 1))
        self._workers: list[_Worker] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()
        atexit.register(self.close)

    def ask(self, requests: Sequence[Request]) -> list[Reply]:
        """One reply for each request, in order."""
        if not requests:
            return []
        with self._lock:
            return _Exchange(self, requests).run()

    def close(self) -> None:
        """Stop the workers. A later `ask` starts new ones."""
        if os.getpid() != self._owner:  # a forked process leaves the workers to its parent
            return
        locked = self._lock.acquire(timeout=_GRACE_SECONDS)
        try:
            for worker in list(self._workers):
                self.dismiss(worker)
        finally:
            if locked:
                self._lock.release()

    def process_ids(self) -> list[int]:
        """The workers' process ids, for tests and for those who look after processes."""
        return [worker.process.pid for worker in self._workers]

    def hire(self, requests: int) -> list[_Worker]:
        """The living workers, as many as so many requests are worth."""
        for worker in [worker for worker in self._workers if not worker.process.alive]:
            self.dismiss(worker)
        wanted = min(self.size, -(-requests // _REQUESTS_PER_WORKER))
        while len(self._workers) < wanted:
            self.start()
        return self._workers[:wanted]

    def start(self) -> _Worker:
        """One more worker; it says when it is ready."""
        worker = _Worker(ChildProcess("opdkit.grading.worker"), deadline=time.monotonic() + _START_SECONDS)
        self._workers.append(worker)
        return worker

    def dismiss(self, worker: _Worker) -> None:
        """Kill a worker with its child, and wait for it."""
        self._workers = [other for other in self._workers if other is not worker]
        worker.process.kill()


class _Exchange:
    """One call of `ask`: hands each worker one request at a time until all are answered."""

    def __init__(self, pool: WorkerPool, requests: Sequence[Request]) -> None:
        self.pool, self.requests = pool, requests
        self.waiting = deque(range(len(requests)))
        self.open = len(requests)
        self.replies: list[Reply | None] = [None] * len(requests)
        self.selector = selectors.DefaultSelector()
        self.failed_starts = 0
        self.offences: Counter[str] = Counter()

    def run(self) -> list[Reply]:
        """Replies in the order of the requests."""
        try:
            for worker in self.pool.hire(len(self.requests)):
                self._employ(worker)
            while self.open and (keys := list(self.selector.get_map().values())):
                self._wait([key.data for key in keys])
        finally:
            for key in list(self.selector.get_map().values()):
                if key.data.task is not None:  # interrupted: its late reply must not answer another question
                    self.pool.dismiss(key.data)
            self.selector.close()
        return [reply if reply is not None else {"correct": False, "status": "crashed"} for reply in self.replies]

    def _employ(self, worker: _Worker) -> None:
        self.selector.register(worker.process, selectors.EVENT_READ, worker)
        if worker.ready:
            self._hand_out(worker)

    def _wait(self, workers: list[_Worker]) -> None:
        patience = min(worker.deadline for worker in workers) - time.monotonic()
        for key, _ in self.selector.select(max(0.0, patience)):
            self._read(key.data)
        now = time.monotonic()
        for key in list(self.selector.get_map().values()):
            if now > key.data.deadline:
                self._lose(key.data, "timeout")

    def _answer(self, worker: _Worker, reply: Reply) -> None:
        if worker.task is not None:
            self.replies[worker.task] = reply
            self.offences[self.requests[worker.task]["answer"]] += reply["status"] == "timeout"
            self.open -= 1
            worker.task = None

    def _read(self, worker: _Worker) -> None:
        replies = worker.process.receive()
        if replies is None:
            self._lose(worker, "crashed")
            return
        for reply in replies:
            self._answer(worker, reply)
            worker.ready = True
            self._hand_out(worker)

    def _hand_out(self, worker: _Worker) -> None:
        worker.deadline = float("inf")
        while self.waiting and self.offences[self.requests[self.waiting[0]]["answer"]] >= _PATIENCE:
            self.replies[self.waiting.popleft()] = {"correct": False, "status": "timeout"}
            self.open -= 1
        if not self.waiting:
            return
        worker.task = self.waiting.popleft()
        worker.deadline = time.monotonic() + WALL_SECONDS + _GRACE_SECONDS
        try:
            worker.process.send(self.requests[worker.task])
        except OSError:
            self._lose(worker, "crashed")

    def _lose(self, worker: _Worker, status: str) -> None:
        self.selector.unregister(worker.process)
        self.failed_starts += not worker.ready
        self._answer(worker, {"correct": False, "status": status})
        self.pool.dismiss(worker)
        if self.waiting and self.failed_starts <= self.pool.size:
            self._employ(self.pool.start())
