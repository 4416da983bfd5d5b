"""Prompt templates: `{field}` is replaced, every other brace stays as it is (so `\\boxed{}` needs no doubling)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def template_fields(template: str) -> set[str]:
    """The names that a template asks for."""
    return set(_FIELD.findall(template))


def fill(template: str, fields: Mapping[str, object]) -> str:
    """The template with its fields filled in. What is filled in is not read as a template again."""
    return _FIELD.sub(lambda match: str(fields[match.group(1)]), template)
