"""A problem of a task, before any tokenizer has seen it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Message:
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Problem:
    """One problem of a task, before any tokenizer has seen it.

    Attributes:
        identifier: unique and stable within its task.
        messages: the chat that asks it.
        reference: the gold answer as text.
        context: what only some may see, by name: a worked solution, a demonstration, a hint, feedback.
    """

    identifier: str
    messages: tuple[Message, ...]
    reference: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])
