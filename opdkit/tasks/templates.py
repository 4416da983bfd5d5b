"""Renders problems with prompt templates and checks template fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from opdkit.data.problem import Message
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError

__all__ = ["check_template", "render", "template_fields"]


def check_template(template: str, available: Iterable[str]) -> None:
    """Rejects a template without fields or with unknown ones.

    Raises UserError with the field and its closest match.
    """
    names = sorted(set(available))
    wanted = template_fields(template)
    if not wanted:
        raise UserError(
            f"template={template!r} has no field, so every prompt would be the same; "
            f"allowed: {', '.join('{' + name + '}' for name in names)}"
        )
    for field in sorted(wanted - set(names)):
        near = difflib.get_close_matches(field, names, n=1)
        hint = f" (did you mean {{{near[0]}}}?)" if near else ""
        raise UserError(
            f"template asks for {{{field}}}, which the problems do not have{hint}; "
            f"allowed: {', '.join('{' + name + '}' for name in names)}"
        )


def render(template: str, fields: Mapping[str, object], system: str | None = None) -> tuple[Message, ...]:
    """The chat turns of one problem: an optional system prompt, then the filled template as user turn."""
    user = Message(role="user", content=fill(template, fields))
    return (Message(role="system", content=system), user) if system else (user,)
