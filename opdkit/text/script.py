"""Rule-based stand-ins for a language model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from opdkit.text.base import Chat
from opdkit.text.exchanges import Reply


@dataclass(frozen=True)
class Script:
    """A function of a chat as a `Backend`. Temperature and seed change nothing.

    Attributes:
        name: its name.
        answer: the reply to a chat.
    """

    name: str
    answer: Callable[[Chat], str]

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """See `Backend`."""
        return {"kind": self.name, "version": 1}

    def replies(self, chats: Sequence[Chat]) -> Iterator[tuple[int, Reply]]:
        """See `Backend`."""
        for index, chat in enumerate(chats):
            started = time.monotonic()
            text = self.answer(chat)
            yield index, Reply(text, seconds=time.monotonic() - started)

    def close(self) -> None:
        """See `Backend`."""
