"""Converts model output to actions of an OpenEnv environment, following the server's action schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opdkit.environments.tool_calls import finite, read_calls, strict_json
from opdkit.errors import UserError

JSON, TOOLS = "json", "tools"
_OWN = ("metadata", "type")


class NoActionError(ValueError):
    """The model output is not an action of the environment."""


@dataclass(frozen=True)
class ActionForm:
    """How an answer becomes an action.

    Attributes:
        field: the action field that the answer fills, or `JSON` or `TOOLS`.
        kind: JSON type of the field: string, integer, number or boolean.
        constants: additional fields.
    """

    field: str
    kind: str
    constants: Mapping[str, Any]

    def read(self, text: str) -> list[dict[str, Any]]:
        """The actions of an answer: one, or one per tool call. Raises NoActionError."""
        if self.field == TOOLS:
            calls = read_calls(text)
            if not calls:
                raise NoActionError("No tool was called.")
            return [
                {"type": "call_tool", "tool_name": call.name, "arguments": dict(call.arguments), **self.constants}
                for call in calls
            ]
        if self.field == JSON:
            return [{**_object(text), **self.constants}]
        return [{self.field: _value(text, self.kind), **self.constants}]


def action_form(schema: Mapping[str, Any], wanted: str | None, constants: Mapping[str, Any]) -> ActionForm:
    """The form of an environment's actions. Raises UserError if neither the schema nor `wanted` determines it.

    schema: JSON schema of an action. wanted: see `OpenEnv.action`.
    """
    fields: dict[str, Any] = {name: told for name, told in schema.get("properties", {}).items() if name not in _OWN}
    tools = {"tool_name", "arguments"} <= set(fields) or not fields
    unknown = [name for name in constants if name not in fields and not tools]
    if unknown:
        raise UserError(f"constants.{unknown[0]}: no such field of an action; allowed: {', '.join(fields)}")
    if wanted in (JSON, TOOLS):
        return ActionForm(wanted, "string", constants)
    if wanted is None and tools:
        return ActionForm(TOOLS, "string", constants)
    open_fields = [name for name in schema.get("required", []) if name in fields and name not in constants]
    open_fields = open_fields or [name for name in fields if name not in constants]
    if wanted is None and len(open_fields) != 1:
        raise UserError(
            f"action=null: an action has the fields {', '.join(open_fields) or 'none'}; name one with action= and the "
            "others with constants, or say action=json"
        )
    name = wanted or open_fields[0]
    if name not in fields:
        raise UserError(f"action={name}: no such field of an action; allowed: {', '.join([*fields, JSON, TOOLS])}")
    return ActionForm(name, _kind(fields[name]), constants)


def _kind(told: Mapping[str, Any]) -> str:
    """The type of a field; string if it has none or several."""
    return str(told.get("type", "string"))


def _object(text: str) -> dict[str, Any]:
    """The JSON object from the first brace of a text to the last."""
    try:
        found = strict_json(text[text.index("{") : text.rindex("}") + 1])
    except (ValueError, RecursionError):
        raise NoActionError("This is no JSON object.") from None
    if not isinstance(found, dict):
        raise NoActionError("This is no JSON object.")
    return found


def _value(text: str, kind: str) -> Any:
    try:
        match kind:
            case "integer":
                return int(text)
            case "number":
                return finite(text)
            case "boolean":
                return {"true": True, "false": False}[text.strip().lower()]
            case "array" | "object":
                return strict_json(text)
            case _:
                return text
    except (ValueError, KeyError, RecursionError):
        raise NoActionError(f"This is no {kind}.") from None
