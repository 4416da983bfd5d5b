"""Tool use in plain-text chats: describing tools to a model and parsing its calls."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_CALLS = 16


@dataclass(frozen=True)
class ToolCall:
    """A tool call by a model.

    Attributes:
        name: name of the tool.
        arguments: arguments by name.
    """

    name: str
    arguments: Mapping[str, Any]


def tools_told(tools: Sequence[Mapping[str, Any]]) -> str:
    """The tool descriptions, one per line with `name`, `description` and `parameters`, and the call format."""
    lines = ["Tools:", *map(json.dumps, tools)]
    return "\n".join(lines) + '\n\nTo call one: <tool_call>{"name": ..., "arguments": {...}}</tool_call>'


def strict_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for invalid JSON, including NaN and infinity, which Python reads."""
    return json.loads(text, parse_constant=finite, parse_float=finite)


def finite(text: str) -> float:
    """Parses a number. Raises ValueError if it is not finite."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number of JSON")
    return value


def read_calls(text: str) -> list[ToolCall]:
    """The tool calls in a model's output, at most 16; anything but valid call JSON is ignored."""
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
    """A tool's result as text."""
    return f"<tool_response>\n{text}\n</tool_response>"
