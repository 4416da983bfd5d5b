"""A problem of a task, before tokenization."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# If a problem has no text for a name, that of the mapped name is used.
_ELSE = {"demonstration": "solution", "solution": "answer"}


@dataclass(frozen=True)
class Message:
    """One turn of a chat. `role` is system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True)
class Problem:
    """One problem of a task, before tokenization.

    Attributes:
        identifier: unique and stable within its task.
        messages: the chat that states it.
        reference: the gold answer as text.
        context: privileged texts by name: a worked solution, a demonstration, a hint, feedback. `answer` is the gold
            answer if the reference contains more than that, and empty if the problem has none.
    """

    identifier: str
    messages: tuple[Message, ...]
    reference: str
    context: Mapping[str, str] = field(default_factory=dict[str, str])

    def text(self, name: str) -> str | None:
        """The text that replaces {name} in a template, None if the problem has none.

        `question` is the last turn of the chat, `answer` the gold answer, any other name a key of the context. A
        missing worked solution falls back to the answer, and a missing demonstration to the solution.
        """
        if name == "question":
            return self.messages[-1].content
        found = self.context.get(name, self.reference if name == "answer" else "")
        if found.strip():
            return found
        return self.text(_ELSE[name]) if name in _ELSE else None
