"""Groups runs by configuration and finds the keys in which configurations differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from opdkit.reports.objectives import by_name, nearest
from opdkit.reports.runs import Run
from opdkit.reports.text import NOTHING

# Keys that may differ between runs of one configuration: the seed, and where and how much is written.
IGNORED = (
    "seed", "run_dir", "resume", "paths", "logger", "checkpoint_every", "keep_checkpoints", "keep_best", "push_to_hub",
    "log_samples",
)  # fmt: skip
ABSENT = NOTHING
_LONGEST = 48
Objectives = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Configuration:
    """Runs that differ only in their seeds. `values`: the keys that distinguish it, name -> value as text."""

    label: str
    values: Mapping[str, str]
    runs: Sequence[Run]


def configurations(runs: Sequence[Run], objectives: Objectives = MappingProxyType({})) -> list[Configuration]:
    """Runs by configuration, ordered by the differing keys. objectives: option -> its values, used for naming."""
    groups: dict[str, tuple[dict[str, Any], list[Run]]] = {}
    for run in runs:
        flat = flatten(run.config)
        groups.setdefault(json.dumps(flat, sort_keys=True), (flat, []))[1].append(run)
    known = {name: flatten({"objective": values}) for name, values in objectives.items()}
    named = by_name([flat for flat, _ in groups.values()], known)
    keys = differing(named)
    names = short_names(keys)
    members_of = [members for _, members in groups.values()]
    ordered = sorted(zip(named, members_of, strict=True), key=lambda group: [_order(group[0].get(key)) for key in keys])
    grouped: list[Configuration] = []
    for flat, members in ordered:
        values = {names[key]: _text(key, flat[key]) if key in flat else ABSENT for key in keys}
        grouped.append(Configuration(_label(keys, values) or _objective(flat, known), values, members))
    return grouped


def flatten(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value, without the keys in `IGNORED`. 1 and 1.0 are equal."""
    flat: dict[str, Any] = {}

    def walk(node: Any, key: str) -> None:
        if isinstance(node, dict) and node:
            for name, inner in node.items():
                walk(inner, f"{key}.{name}" if key else str(name))
        else:
            flat[key] = int(node) if isinstance(node, float) and node.is_integer() else node

    walk({name: value for name, value in config.items() if name not in IGNORED}, "")
    return json.loads(json.dumps(flat, default=str))


def differing(flats: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values differ, in order of appearance.

    A key that only some configurations have, always with the same value, is omitted if a `_target_` above it differs:
    the class implies it.
    """
    everything = list(dict.fromkeys(key for flat in flats for key in flat))
    values = {key: {json.dumps(flat[key]) for flat in flats if key in flat} for key in everything}
    partial = {key for key in everything if any(key not in flat for flat in flats)}

    def implied_by_class(key: str) -> bool:
        parts = key.split(".")
        above = (".".join([*parts[:n], "_target_"]) for n in range(1, len(parts)))
        return any(len(values.get(target, ())) > 1 or target in partial for target in above if target != key)

    return [
        key
        for key in everything
        if len(values[key]) > 1 or (key in partial and not implied_by_class(key))
    ]  # fmt: skip


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its shortest unique suffix; the key of a class is named after its group."""
    paths = {key: key.removesuffix("._target_").split(".") for key in keys}
    names: dict[str, str] = {}
    for key, path in paths.items():
        others = [other for one, other in paths.items() if one != key]
        length = 1
        while length < len(path) and any(other[-length:] == path[-length:] for other in others):
            length += 1
        names[key] = ".".join(path[-length:])
    return names


def _label(keys: Sequence[str], values: Mapping[str, str]) -> str:
    """A short label from a configuration's values: classes by value alone, others as `name=value`."""
    if not keys:
        return ""
    items = list(zip(keys, values.items(), strict=True))
    classes = [value for key, (_, value) in items if _names_itself(key)]
    parts = [
        value if _names_itself(key) and classes.count(value) == 1 else f"{name}={value}"
        for key, (name, value) in items
        if value != ABSENT
    ]
    return " ".join(parts) or "the rest"


def _names_itself(key: str) -> bool:
    return key.endswith("_target_") or key == "objective"


def _objective(flat: Mapping[str, Any], known: Mapping[str, Mapping[str, Any]]) -> str:
    """The objective's option with the values that differ from it, or its class if it is close to no option."""
    values = {key: value for key, value in flat.items() if key.startswith("objective.")}
    found = nearest(values, known)
    if found is None:
        return _text("_target_", values.get("objective._target_") or "all runs")
    name, departing = found
    return " ".join([name, *(f"{key.split('.')[-1]}={_text(key, values.get(key))}" for key in departing)])


def _text(key: str, value: Any) -> str:
    if isinstance(value, str):
        text = value.rsplit(".", 1)[-1] if key.endswith("_target_") else value
    elif isinstance(value, float):
        text = f"{value:g}"
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"


def _order(value: Any) -> tuple[int, float, str]:
    """Absent first, then numbers by value, then strings."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return 1, float(value), ""
    return (0, 0.0, "") if value is None else (2, 0.0, json.dumps(value))
