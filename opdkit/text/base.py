"""The protocol of a text model, and how its answer is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from opdkit.data.problem import Message


@dataclass(frozen=True)
class Chat:
    """One chat that awaits its next answer.

    Attributes:
        messages: the turns so far, the last one a user's.
        seed: of the sampling, where the model honours one.
        schema: a JSON schema that the answer must satisfy, None for free text.
    """

    messages: tuple[Message, ...]
    seed: int
    schema: Mapping[str, object] | None = None


class TextModel(Protocol):
    """Answers chats in words. Answers are untrusted text."""

    @property
    def name(self) -> str:
        """What the model is called in records and metrics."""
        ...

    def complete(self, chats: Sequence[Chat]) -> list[str | None]:
        """One answer a chat, in order, None where the model failed to give one.

        Raises:
            RunError: the model can't be reached any more, or its budget is spent.
        """
        ...

    def usage(self) -> Mapping[str, float]:
        """Calls, tokens and seconds so far, by name."""
        ...

    def close(self) -> None:
        """Release connections and processes."""
        ...
