"""A problem of a task, before any tokenizer has seen it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Problem:
    """One problem of a task, before any tokenizer has seen it.

    `identifier` is unique and stable within its task; `reference` is the gold answer as text.
    """

    identifier: str
    messages: tuple[Message, ...]
    reference: str
