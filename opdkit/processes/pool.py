"""Runs request-reply conversations with child processes in parallel, each with its own timeouts."""

from __future__ import annotations

import atexit
import math
import os
import selectors
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from opdkit.errors import UserError
from opdkit.processes.child import ChildProcess, Reply

Pool = TypeVar("Pool", bound="ProcessPool")


class Conversation(ABC):
    """A sequence of requests to one child, which may be replaced on failure.

    Attributes:
        child: The child process, None before it starts and after it ends.
        deadline: Deadline of its next reply, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.child: ChildProcess | None = None
        self.deadline = math.inf

    @abstractmethod
    def begin(self) -> None:
        """Sends the first request, to an existing or a new child."""

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether a reply is pending."""

    @abstractmethod
    def receive(self, reply: Reply) -> None:
        """Handles a reply and sends further requests. Raises ValueError for a malformed reply."""

    @abstractmethod
    def fail(self, reason: str, detail: str) -> None:
        """Records that the child failed: "crashed", "timeout" or "nonsense". May continue with a new one."""

    @abstractmethod
    def abandon(self) -> None:
        """Kills the child of an interrupted caller: a late reply must not be taken for that of another request."""


def converse(conversations: Sequence[Conversation]) -> None:
    """Starts conversations and serves them until none is pending."""
    loop = _Loop(conversations)
    try:
        loop.run()
    finally:
        loop.close()


class _Loop:
    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._conversations = conversations
        self._selector = selectors.DefaultSelector()
        self._registered: dict[int, ChildProcess] = {}

    def run(self) -> None:
        for conversation in self._conversations:
            conversation.begin()
            self._register(conversation)
        while self._registered:
            waiting = [conversation for conversation in self._conversations if id(conversation) in self._registered]
            late = min(conversation.deadline for conversation in waiting)
            patience = None if late == math.inf else max(0.0, late - time.monotonic())
            for key, _ in self._selector.select(patience):
                self._read(key.data)
            now = time.monotonic()
            for conversation in waiting:
                if id(conversation) in self._registered and now > conversation.deadline:
                    self._fail(conversation, "timeout", "no answer in time")

    def close(self) -> None:
        for conversation in self._conversations:
            if conversation.waits:  # the caller was interrupted
                conversation.abandon()
        self._selector.close()

    def _register(self, conversation: Conversation) -> None:
        """Registers the conversation's current child if a reply is pending."""
        child = conversation.child if conversation.waits else None
        known = self._registered.get(id(conversation))
        if child is known:
            return
        if known is not None:
            self._selector.unregister(known)
            del self._registered[id(conversation)]
        if child is not None:
            self._selector.register(child, selectors.EVENT_READ, conversation)
            self._registered[id(conversation)] = child

    def _read(self, conversation: Conversation) -> None:
        assert conversation.child is not None
        try:
            replies = conversation.child.receive()
            for reply in replies or []:
                conversation.receive(reply)
        except UserError:  # a ValueError that the user can fix
            raise
        except ValueError as error:
            self._fail(conversation, "nonsense", str(error))
            return
        if replies is None:
            self._fail(conversation, "crashed", "the process ended")
        else:
            self._register(conversation)

    def _fail(self, conversation: Conversation, reason: str, detail: str) -> None:
        conversation.fail(reason, detail)
        self._register(conversation)


class ProcessPool(ABC):
    """Children that end with `close`, with this process, or when it is killed (they watch for it)."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        atexit.register(self.close)

    def __enter__(self: Pool) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        atexit.unregister(self.close)

    @abstractmethod
    def children(self) -> Iterable[ChildProcess]:
        """The running children."""

    @abstractmethod
    def end_children(self) -> None:
        """Ends all children. Later calls may start new ones."""

    def process_ids(self) -> list[int]:
        """The children's process ids, for tests and monitoring."""
        return [child.pid for child in self.children()]

    def close(self) -> None:
        """Ends all children; a forked process leaves them to its parent."""
        if os.getpid() == self._owner:
            self.end_children()


class PoolPerProcess(Generic[Pool]):
    """A pool that each process opens at first use: a forked one can't share its parent's pipes. Not thread-safe."""

    def __init__(self, open_pool: Callable[[], Pool]) -> None:
        self._open = open_pool
        self._pools: dict[int, Pool] = {}

    def get(self) -> Pool:
        """This process's pool."""
        if os.getpid() not in self._pools:
            self._pools[os.getpid()] = self._open()
        return self._pools[os.getpid()]
