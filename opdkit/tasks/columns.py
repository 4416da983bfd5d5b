"""Reads values of a row by column name or nested path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast


def look_up(row: Mapping[str, object], column: str) -> tuple[bool, object]:
    """Whether a row has a column, and its value. A path such as `reward_model.ground_truth` or `prompt.0.content` leads
    to nested columns; a column with the full name takes precedence."""
    if column in row:
        return True, row[column]
    value: object = row
    for step in column.split("."):
        if isinstance(value, Mapping) and step in value:
            value = cast("Mapping[str, object]", value)[step]
        elif isinstance(value, list) and step.lstrip("-").isdigit() and -len(value) <= int(step) < len(value):
            value = cast("list[object]", value)[int(step)]
        else:
            return False, None
    return True, value


def as_text(value: object) -> str:
    """A value as text: of a chat the last user turn, of another list its entries joined by commas."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        entries = cast("list[object]", value)
        turns = [cast("Mapping[str, object]", entry) for entry in entries if isinstance(entry, Mapping)]
        if turns and len(turns) == len(entries) and all("content" in turn for turn in turns):
            users = [turn for turn in turns if turn.get("role") == "user"] or turns
            return as_text(users[-1]["content"])
        return ", ".join(map(as_text, entries))
    return str(value)
