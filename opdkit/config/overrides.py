"""Parses and checks overrides before Hydra composes: groups, options, keys and sweep jobs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from opdkit.config import location
from opdkit.config.near import refusal
from opdkit.config.schema import RECIPES, SCHEMAS
from opdkit.errors import UserError


@dataclass(frozen=True)
class Typed:
    """One `key=value` as typed. `key` has no `+` and no `@package`."""

    text: str
    key: str
    override: Override

    @property
    def value(self) -> Any:
        return cast(Any, self.override).value()


def parse(texts: Sequence[str]) -> list[Typed]:
    """The overrides in order. Raises UserError for anything but `key=value`."""
    return [_parse_one(text) for text in texts]


def _parse_one(text: str) -> Typed:
    if text.startswith("-"):
        raise UserError(f"{text}: no such flag; allowed: key=value, --multirun, --cfg job, --config-dir, --help")
    if not text.startswith("~") and ("=" not in text or not text.partition("=")[0].strip("+ ")):
        raise UserError(f"{text}: not an override; write key=value, for example steps=10")
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        reason = str(error).splitlines()[0].strip()
        raise UserError(f"{text}: the value cannot be parsed ({reason}); quote special characters") from None
    if override.is_delete():
        raise UserError(f"{text}: keys can't be deleted; choose another option or value")
    return Typed(text, override.key_or_group, override)


def check(root: str, typed: Iterable[Typed], folders: Sequence[Path], *, multirun: bool) -> None:
    """Raises UserError for unknown groups, options and root keys, duplicate keys, and several values outside sweeps."""
    seen: dict[str, str] = {}
    root_keys = [f.name for f in fields(SCHEMAS[root])]
    own_groups = (*root_keys, *RECIPES[root])
    known_groups = [name for name in location.groups(folders) if name.split("/")[0] in own_groups]
    for item in typed:
        place = f"{item.key}@{item.override.package}"
        if place in seen:
            raise UserError(f"{item.key}: given twice ({seen[place]} and {item.text}); keep one")
        seen[place] = item.text
        if item.override.is_sweep_override() and not multirun:
            raise UserError(f"{item.text}: several values; allowed in `opdkit sweep` only, or with --multirun")
        first = item.key.split(".")[0]
        if first == "hydra" or item.key.startswith("hydra/"):
            _check_hydra(item)
            continue
        if item.key in known_groups or (item.key, item.override.package) == ("sampler", "benchmark.sampler"):
            _check_choice(item, folders)
        elif "/" in item.key:
            _check_nested_group(item, known_groups, folders)
        elif first not in root_keys:
            allowed = [*root_keys, *(known_groups if "." not in item.key else [])]
            raise UserError(refusal(item.text, f"no key named {first}", first, sorted(set(allowed))))


_HYDRAS = ("hydra/launcher", "hydra/sweeper", "hydra.launcher", "hydra.sweeper", "hydra.mode")
"""Hydra's own keys that take effect; folders and logs are controlled by opdkit."""


def _check_hydra(item: Typed) -> None:
    """Raises UserError for a Hydra key that has no effect."""
    if not any(item.key == name or item.key.startswith(f"{name}.") for name in _HYDRAS):
        instead = {"hydra.run.dir": "run_dir=", "hydra.sweep.dir": "run_dir=", "hydra.searchpath": "--config-dir"}
        better = instead.get(item.key)
        raise UserError(
            f"{item.text}: has no effect here; "
            + (f"use {better}" if better else f"allowed Hydra keys: {', '.join(_HYDRAS)}")
        )


_SEVERAL = ("logger",)
"""Groups that accept several options: `logger=[wandb,tensorboard]`."""


def _check_choice(item: Typed, folders: Sequence[Path]) -> None:
    if item.override.is_add():
        raise UserError(f"{item.text}: {item.key} is a group; write {item.text.lstrip('+')}")
    known = list(location.options(item.key, folders))
    values = _values(item)
    if item.key in _SEVERAL:
        several = [cast(list[Any], value) if isinstance(value, list) else [value] for value in values]
        values = [option for options in several for option in options]
    for value in values:
        if value is None and item.key in RECIPES["train"]:
            continue
        if not isinstance(value, str):
            raise UserError(refusal(item.text, f"not an option of {item.key}", str(value), known))
        if value not in known:
            raise UserError(refusal(f"{item.key}={value}", "no such option", value, known))


def _check_nested_group(item: Typed, groups: Sequence[str], folders: Sequence[Path]) -> None:
    known = sorted(p.parent.relative_to(f).as_posix() for f in folders for p in f.rglob("*.yaml") if p.parent != f)
    if item.key not in known and not any(name.startswith(f"{item.key}/") for name in known):
        raise UserError(refusal(item.text, "no such group", item.key, groups))


def _values(item: Typed) -> list[Any]:
    """The single value, or all values of a discrete sweep."""
    if not item.override.is_sweep_override():
        return [item.value]
    if not item.override.is_discrete_sweep():
        return []
    return [_plain(text) for text in item.override.sweep_string_iterator()]


def _plain(text: str) -> Any:
    return cast(Any, OverridesParser.create().parse_override(f"x={text}")).value()


def jobs(texts: Sequence[str]) -> list[list[str]]:
    """Overrides of every job of a grid sweep, in Hydra's order. Raises UserError for a sweep over an interval.

    Hydra's basic sweeper computes the same product, but too late to refuse a bad job before the first starts.
    """
    choices: dict[str, list[str]] = {}
    for item in parse(texts):
        key = item.override.get_key_element()
        if not item.override.is_sweep_override():
            choices[key] = [f"{key}={item.override.get_value_element_as_str()}"]
        elif item.override.is_discrete_sweep():
            choices[key] = [f"{key}={value}" for value in item.override.sweep_string_iterator()]
        else:
            raise UserError(f"{item.text}: a grid takes no intervals; add hydra/sweeper=optuna, or list the values")
    return [list(job) for job in itertools.product(*choices.values())]


def first_job(texts: Sequence[str]) -> list[str]:
    """An example job of a search: the first value of each choice, the lower bound of each interval."""
    chosen: dict[str, str] = {}
    for item in parse(texts):
        key = item.override.get_key_element()
        if not item.override.is_sweep_override():
            value = item.override.get_value_element_as_str()
        elif item.override.is_discrete_sweep():
            value = next(iter(item.override.sweep_string_iterator()))
        else:
            value = item.value.start
        chosen[key] = f"{key}={value}"
    return list(chosen.values())
