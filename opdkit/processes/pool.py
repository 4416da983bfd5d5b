"""Holds conversations with child processes, side by side, each with its own time limits."""

from __future__ import annotations

import atexit
import math
import os
import selectors
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TypeVar

from opdkit.errors import UserError
from opdkit.processes.child import ChildProcess, Reply

Pool = TypeVar("Pool", bound="ProcessPool")


class Conversation(ABC):
    """What one child is asked in turn. The child may be replaced by another on the way.

    Attributes:
        child: The child that is asked, None before it starts and after it ends.
        deadline: When its next reply is late, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.child: ChildProcess | None = None
        self.deadline = math.inf

    @abstractmethod
    def begin(self) -> None:
        """Ask the first question, of a child that is there or of a new one."""

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether a reply is still to come."""

    @abstractmethod
    def receive(self, reply: Reply) -> None:
        """Take a reply, and ask further. Raises ValueError where the reply makes no sense."""

    @abstractmethod
    def fail(self, reason: str, detail: str) -> None:
        """Take note that the child is of no more use: "crashed", "timeout" or "nonsense". It may go on with another."""

    @abstractmethod
    def abandon(self) -> None:
        """End the child, since the caller was interrupted: its late reply must not answer another question."""


def converse(conversations: Sequence[Conversation]) -> None:
    """Begin conversations and serve them until none of them waits any more."""
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
        """Listen to the child that the conversation has now, if it waits for it."""
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
        except UserError:  # a ValueError, and the user's to mend
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
    """Children that end with `close`, with this process, and when this process is killed (they watch for it)."""

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
        """The children that were started and not ended."""

    @abstractmethod
    def end_children(self) -> None:
        """End all children. Later calls may start new ones."""

    def process_ids(self) -> list[int]:
        """The children's process ids, for tests and for those who look after processes."""
        return [child.pid for child in self.children()]

    def close(self) -> None:
        """End all children; a forked process leaves them to its parent."""
        if os.getpid() == self._owner:
            self.end_children()
