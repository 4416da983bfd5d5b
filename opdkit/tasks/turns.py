"""Reads chats of datasets: lists of turns in the common formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.tasks.files import Place

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "human": "user", "assistant": "assistant",
    "gpt": "assistant", "model": "assistant",
}  # fmt: skip


def read_turns(place: Place, value: object) -> tuple[Message, ...] | None:
    """A chat as messages, None if `value` is plain text.

    Turns are objects with `role` and `content`, or `from` and `value`. Content may be a list of parts, whose texts are
    used. JSON text of such a list is parsed, for CSV files. Raises UserError for a turn of another role or type.
    """
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list):
        return None
    return tuple(_turn(place, turn) for turn in cast("list[object]", value))


def split_answer(turns: tuple[Message, ...]) -> tuple[tuple[Message, ...], str | None]:
    """A chat up to its last question, and the answer after it, if any."""
    if turns and turns[-1].role == "assistant":
        return turns[:-1], turns[-1].content
    return turns, None


def with_system(turns: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """The chat with this system prompt in place of its own. None or empty leaves it unchanged."""
    if not system:
        return turns
    return (Message("system", system), *(turn for turn in turns if turn.role != "system"))


def _turn(place: Place, value: object) -> Message:
    if not isinstance(value, Mapping):
        raise UserError(f"{place}: a turn of the chat is {type(value).__name__}, not an object of role and content")
    turn = cast("Mapping[str, object]", value)
    role = str(turn.get("role", turn.get("from", "")))
    if role not in _ROLES:
        raise UserError(f"{place}: a turn of the chat has the role {role!r}; allowed: {', '.join(_ROLES)}")
    return Message(_ROLES[role], _content(place, turn.get("content", turn.get("value"))))


def _content(place: Place, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        parts = [
            cast("Mapping[str, object]", part) for part in cast("list[object]", value) if isinstance(part, Mapping)
        ]
        if len(parts) == len(cast("list[object]", value)) and all(isinstance(part.get("text"), str) for part in parts):
            return "".join(str(part["text"]) for part in parts)
    raise UserError(f"{place}: a turn of the chat has no text; allowed: a text, or a list of texts as parts")
