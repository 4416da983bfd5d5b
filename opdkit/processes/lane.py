"""A worker process that serves one request after another, and is replaced when it fails."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence

from opdkit.processes.child import ChildProcess, Reply
from opdkit.processes.pool import Conversation

_START_SECONDS = 120.0


class Lane(Conversation):
    """One worker of a pool. Its first reply says that it is ready.

    Args:
        module: the worker's module.
        passed_on: environment variables passed on to it.
    """

    def __init__(self, module: str, passed_on: Sequence[str] = ()) -> None:
        super().__init__()
        self._module, self._passed_on = module, passed_on
        self._ready = False

    def begin(self) -> None:
        """See `Conversation`."""
        if self.child is not None and not self.child.alive:
            self.abandon()
        if self.child is None:
            self._start()
        elif self._ready:
            self._send_next()

    def receive(self, reply: Reply) -> None:
        """See `Conversation`."""
        if self._ready:
            self._take_reply(reply)
        self._ready = True
        self._send_next()

    def abandon(self) -> None:
        """See `Conversation`."""
        if self.child is not None:
            self.child.kill()
        self.child, self._ready = None, False
        self._forget()

    def _start(self) -> None:
        self.child = ChildProcess(self._module, self._passed_on)
        self.deadline = time.monotonic() + _START_SECONDS

    @abstractmethod
    def _send_next(self) -> None:
        """Sends further requests to the ready worker."""

    @abstractmethod
    def _take_reply(self, reply: Reply) -> None:
        """Stores the reply to the oldest request."""

    @abstractmethod
    def _forget(self) -> None:
        """Drops the requests sent to a worker that is gone."""
