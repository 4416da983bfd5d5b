"""How two resolved configurations differ: what `resume=true` refuses to go on with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from opdkit.errors import UserError

_FREE = ("run_dir", "resume", "logger", "paths", "log_samples", "keep_checkpoints")
"""Keys that do not change what a run computes."""

_MOST_SHOWN = 4


def check_same(old_file: Path, new: Mapping[str, Any]) -> None:
    """Refuses to resume under another configuration than the folder's config.yaml, and shows the difference.

    Raises UserError.
    """
    try:
        old: object = yaml.safe_load(old_file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"resume=true: {old_file} cannot be read ({type(error).__name__})") from error
    if not isinstance(old, Mapping):
        raise UserError(f"resume=true: {old_file} is not a configuration")
    before, after = flat(_kept(cast(Mapping[str, Any], old))), flat(_kept(new))
    changed = [key for key in sorted({*before, *after}) if before.get(key) != after.get(key)]
    if changed:
        shown = "; ".join(f"{k} was {_value(before, k)}, now {_value(after, k)}" for k in changed[:_MOST_SHOWN])
        more = f"; and {len(changed) - _MOST_SHOWN} more" if len(changed) > _MOST_SHOWN else ""
        raise UserError(
            f"resume=true: {old_file.parent} was run with another configuration: {shown}{more}; "
            f"give the old values, or another run_dir"
        )


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """`{"a": {"b": 1}}` as `{"a.b": 1}`; lists stay whole."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            found.update(flat(cast(Mapping[str, Any], value), f"{prefix}{name}."))
        else:
            found[f"{prefix}{name}"] = value
    return found


def _kept(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in _FREE}


def _value(values: Mapping[str, Any], key: str) -> str:
    return str(values[key]) if key in values else "not there"
