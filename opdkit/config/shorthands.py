"""Rejects shorthands that have no effect or contradict the key they stand for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from opdkit.config import location
from opdkit.config.overrides import Typed
from opdkit.config.schema import SHORTHANDS
from opdkit.errors import UserError


def check_shorthands(
    config: DictConfig, typed: Sequence[Typed], choices: dict[str, str], folders: Sequence[Path]
) -> None:
    """Raises UserError. `choices` maps each group to its chosen option, for the message.

    Only typed shorthands are checked: a `k` set by an experiment and made meaningless by a typed `objective=sampled`
    is dropped silently.
    """
    raw = OmegaConf.to_container(config, resolve=False)
    for item in typed:
        if item.key in SHORTHANDS and not _is_read(item.key, raw):
            _refuse(item, typed, choices, folders)


def _reading(name: str) -> re.Pattern[str]:
    return re.compile(r"\$\{\s*(oc\.select:\s*)?" + re.escape(name) + r"\s*[,}]")


def _is_read(name: str, node: object) -> bool:
    if isinstance(node, dict):
        return any(_is_read(name, inner) for inner in cast(dict[str, Any], node).values())
    if isinstance(node, list):
        return any(_is_read(name, inner) for inner in cast(list[Any], node))
    return isinstance(node, str) and _reading(name).search(node) is not None


def _refuse(item: Typed, typed: Sequence[Typed], choices: dict[str, str], folders: Sequence[Path]) -> None:
    readers = {
        group: [name for name, file in location.options(group, folders).items() if _file_reads(item.key, file)]
        for group in choices
    }
    readers = {group: names for group, names in readers.items() if names}
    for other in typed:
        if other.key in {f"{group}.{item.key}" for group in readers}:
            if other.value == item.value:
                return
            raise UserError(f"{item.text} and {other.text} disagree: {item.key} is short for {other.key}; keep one")
    options = [f"{group}={name}" for group, names in readers.items() for name in names]
    chosen = " ".join(f"{group}={choices[group]}" for group in readers) or "this configuration"
    raise UserError(f"{item.text}: {chosen} has no {item.key}; allowed with {', '.join(options) or 'nothing'}")


def _file_reads(name: str, file: Path) -> bool:
    return _reading(name).search(file.read_text(encoding="utf-8")) is not None
