"""Reads the shipped objectives as plain values, without Hydra, for generated pages."""

from __future__ import annotations

import re
from typing import Any, cast

import yaml

from opdkit.config.location import conf_dir, options

_SELECT = re.compile(r"\$\{oc\.select:[^,}]+,(.*)\}")


def objectives() -> dict[str, dict[str, Any]]:
    """Option of conf/objective -> its values as Hydra composes them, with the defaults of shorthands."""
    return {name: _composed(name, "objective") for name in options("objective", (conf_dir(),))}


def _composed(name: str, group: str) -> dict[str, Any]:
    """Merges an option's defaults list in order, then its own values."""
    text = (conf_dir() / group / f"{name}.yaml").read_text(encoding="utf-8")
    read = cast(dict[str, Any], yaml.safe_load(text))
    chosen: dict[str, str | None] = {}
    values: dict[str, Any] = {}
    for entry in cast(list[Any], read.get("defaults", [])):
        if isinstance(entry, dict):
            named = cast(dict[str, str | None], entry)
            chosen |= {key.removeprefix("override ").strip("/ "): option for key, option in named.items()}
        elif entry != "_self_":
            values |= _composed(str(entry), group)
    values |= {key: _composed(option, f"{group}/{key}") for key, option in chosen.items() if option}
    return values | {key: _default(value) for key, value in read.items() if key != "defaults"}


def _default(value: Any) -> Any:
    """The value, or the default of a shorthand."""
    found = _SELECT.fullmatch(value) if isinstance(value, str) else None
    return yaml.safe_load(found.group(1)) if found else value
