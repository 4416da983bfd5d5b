"""Tools in a chat of plain text: how they are told to a model, and how its calls are read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_CALLS = 16


@dataclass(frozen=True)
class ToolCall:
    """A call that a model wrote.

    Attributes:
        name: of the tool.
        arguments: by name.
    """

    name: str
    arguments: Mapping[str, Any]


def tools_told(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tools, one a line with `name`, `description` and `parameters`, and how one is called."""
    lines = ["Tools:", *map(json.dumps, tools)]
    return "\n".join(lines) + '\n\nTo call one: <tool_call>{"name": ..., "arguments": {...}}</tool_call>'


def strict_json(text: str) -> Any:
    """What a JSON text holds. Raises ValueError for what is none, also NaN and numbers without end, which Python would
    read."""
    return json.loads(text, parse_constant=finite, parse_float=finite)


def finite(text: str) -> float:
    """The number that a text spells. Raises ValueError where it is not finite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value


def read_calls(text: str) -> list[ToolCall]:
    """The calls in what a model wrote, at most 16; what is no JSON of a call is none."""
    found: list[ToolCall] = []
    for part in text.split("<tool_call>")[1 : 1 + _MOST_CALLS]:
        try:
            call: Any = strict_json(part.partition("</tool_call>")[0])
            name, arguments = call["name"], call.get("arguments", {})
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
        if isinstance(name, str) and isinstance(arguments, dict):
            found.append(ToolCall(name, arguments))
    return found


def result_told(text: str) -> str:
    """What a tool answered."""
    return f"<tool_response>\n{text}\n</tool_response>"
