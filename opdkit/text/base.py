"""Protocols of text models and their requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from opdkit.data.problem import Message


@dataclass(frozen=True)
class Chat:
    """One chat with a pending answer.

    Attributes:
        messages: the turns so far, ending with a user turn.
        seed: sampling seed, if the model supports one.
        schema: a JSON schema that the answer must satisfy, with a `title`; None for free text.
        temperature: sampling temperature; 0 is greedy.
    """

    messages: tuple[Message, ...]
    seed: int
    schema: Mapping[str, object] | None = None
    temperature: float = 0.0


class TextModel(Protocol):
    """A model that answers chats with text. Answers are untrusted."""

    @property
    def name(self) -> str:
        """The model's name in records and metrics."""
        ...

    def complete(self, chats: Sequence[Chat]) -> list[str | None]:
        """One answer per chat, in order, None if the model failed.

        Raises:
            RunError: the model has become unreachable, or its budget is spent.
        """
        ...

    def usage(self) -> Mapping[str, float]:
        """Calls, tokens and seconds so far, by name."""
        ...

    def close(self) -> None:
        """Releases connections and processes."""
        ...


class TextSpec(Protocol):
    """The configuration of a text model."""

    def open(self, record: Path | None) -> TextModel:
        """Opens the model. Exchanges are appended to the file `record`; those found there are not requested again.

        Raises:
            UserError: a key, a package or the weights are missing.
        """
        ...
