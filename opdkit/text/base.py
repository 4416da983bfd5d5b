"""Defines the protocol of a text model and of a request for an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opdkit.data.problem import Message


@dataclass(frozen=True)
class Chat:
    """One chat that awaits its next answer.

    Attributes:
        messages: the turns so far, the last one a user's.
        seed: of the sampling, where the model honours one.
        schema: a JSON schema that the answer must satisfy, with a `title`; None for free text.
        temperature: of the sampling; 0 is greedy.
    """

    messages: tuple[Message, ...]
    seed: int
    schema: Mapping[str, object] | None = None
    temperature: float = 0.0


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


class TextSpec(Protocol):
    """A text model as it is configured: nothing is opened yet."""

    def open(self, record: Path | None) -> TextModel:
        """Open it. Exchanges are appended to the file `record`; an exchange found there is not asked again.

        Raises:
            UserError: a key, a package or the weights are missing.
        """
        ...
