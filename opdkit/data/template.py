"""Prompt templates: `{field}` is replaced, every other brace stays as it is (so `\\boxed{}` needs no doubling)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


def template_fields(template: str) -> set[str]:
    """The names of the fields in a template."""
    return set(_FIELD.findall(template))


def fill(template: str, fields: Mapping[str, object]) -> str:
    """Fill in the fields of a template. Inserted text is not treated as a template again."""
    return _FIELD.sub(lambda match: str(fields[match.group(1)]), template)
