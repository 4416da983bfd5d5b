"""Chats of data sets: lists of turns in the spellings that are in use."""

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
    """A chat as messages, None where `value` is no list of turns but a text.

    Turns are objects of `role` and `content`, or of `from` and `value`. A content may be a list of parts, of which the
    texts count. A text that holds such a list as JSON is read, as CSV files have it. Raises UserError for a turn of
    another role or kind.
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
    """A chat up to its last question, and the answer behind that where there is one."""
    if turns and turns[-1].role == "assistant":
        return turns[:-1], turns[-1].content
    return turns, None


def with_system(turns: tuple[Message, ...], system: str | None) -> tuple[Message, ...]:
    """The chat with this system turn in the place of its own. None or empty leaves it as it is."""
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
