"""Defines a problem of a task, before tokenization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Where a problem has no text of its own for a name, that of the next name stands for it.
_ELSE = {"demonstration": "solution", "solution": "answer"}


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
        context: what only some may see, by name: a worked solution, a demonstration, a hint, feedback. `answer` is the
            gold answer where the reference says more than that, empty where the problem has none.
    """

    identifier: str
    messages: tuple[Message, ...]
    reference: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])

    def text(self, name: str) -> str | None:
        """What {name} stands for in a template, None where the problem has nothing to say there.

        `question` is the last turn of the chat, `answer` the gold answer, any other name a key of the context. The
        answer stands for a worked solution that is not there, and a solution for a demonstration.
        """
        if name == "question":
            return self.messages[-1].content
        found = self.context.get(name, self.reference if name == "answer" else "")
        if found.strip():
            return found
        return self.text(_ELSE[name]) if name in _ELSE else None
