"""Generates the reference pages from the keys of conf/ and the schemas of the roots."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from config_keys import LOADER, Key, keys, meaning, written

from opdkit.config.location import conf_dir, description, groups
from opdkit.config.schema import SCHEMAS

ROOTS = {"train": "opdkit train, sweep, doctor", "eval": "opdkit eval", "study": "opdkit study"}


def pages() -> dict[str, str]:
    """File name below reference/config/ -> its markdown."""
    found = {f"{root}.md": root_page(root) for root in ROOTS}
    tops: dict[str, list[str]] = {}
    for group in groups((conf_dir(),)):
        tops.setdefault(group.split("/")[0], []).append(group)
    for top, inner in tops.items():
        name = f"{top}-group" if top in ROOTS else top
        found[f"{name}.md"] = group_page(top, inner)
    return found


def root_page(root: str) -> str:
    """The keys of a root configuration."""
    file = conf_dir() / f"{root}.yaml"
    hints = typing.get_type_hints(SCHEMAS[root])
    lines = [f"# {root}.yaml", "", f"The keys of `{ROOTS[root]}`. {description(file)}", ""]
    own = [key for key in keys(file) if key.name.split(".")[0] not in ("hydra", "defaults")]
    lines += _table(_row(key, written(_hint(hints, key.name)) or key.kind) for key in own)
    chosen = yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER)["defaults"]
    lines += ["", "## Groups", "", "| group | chosen by default |", "|---|---|"]
    for entry in chosen:
        if isinstance(entry, dict) and not next(iter(entry)).startswith("override"):
            ((group, option),) = entry.items()
            target = f"{group}-group" if group in ROOTS else group
            lines.append(f"| [`{group}`]({target}.md) | `{_scalar(option)}` |")
    return "\n".join(lines) + "\n"


def group_page(top: str, inner: list[str]) -> str:
    """The options of a group and its subgroups."""
    lines = [f"# {top}"]
    for group in inner:
        folder = conf_dir() / group
        if group != top:
            lines += ["", f"# {group}"]
        files = sorted(folder.glob("*.yaml"))
        lines += ["", f"Choose with `{group}=`, change a key with `{group.replace('/', '.')}.key=`.", ""]
        lines += ["| option | what it is |", "|---|---|"]
        lines += [f"| `{f.stem}` | {_cell(description(f))} |" for f in files if not f.stem.startswith("_")]
        for file in files:
            lines += option_section(file)
    return "\n".join(lines) + "\n"


def option_section(file: Path) -> list[str]:
    """The keys that a file sets, and the options it builds on."""
    read = yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER) or {}
    private = file.stem.startswith("_")
    lines = [
        "",
        f"## {file.stem.strip('_')} (shared, no option)" if private else f"## {file.stem}",
        "",
        description(file) + ".",
    ]
    based = [f"`{e}`" for e in read.get("defaults", []) if isinstance(e, str) and e != "_self_"]
    chosen = [
        f"`{k.removeprefix('override ')}={_scalar(v)}`"
        for e in read.get("defaults", [])
        if isinstance(e, dict)
        for k, v in e.items()
    ]
    if based:
        lines += ["", f"Builds on {', '.join(based)}, whose other keys it keeps."]
    if chosen:
        lines += ["", f"Chooses {', '.join(chosen)}."]
    target = read.get("_target_")
    if isinstance(target, str):
        lines += ["", f"Class `{target}`."]
    found = [key for key in keys(file) if key.argument != "_target_"]
    if found:
        lines += ["", *_table(_row(key, key.kind) for key in found)]
    return lines


def _hint(hints: dict[str, Any], name: str) -> object:
    first, _, rest = name.partition(".")
    hint = hints.get(first)
    return typing.get_type_hints(hint).get(rest) if rest and inspect.isclass(hint) else hint


def _table(rows: Iterable[str]) -> list[str]:
    """A table of keys, in a block with its own CSS class."""
    head = ["| key | type | default | meaning |", "|---|---|---|---|"]
    return ['<div class="keys" markdown>', "", *head, *rows, "", "</div>"]


def _row(key: Key, kind: str) -> str:
    value = " ".join(key.default.split())
    short = value if len(value) <= 60 else value[:57] + "..."
    told = "required" if value == "???" else f"`{_cell(short)}`" if short else ""
    return f"| `{key.name}` | {_cell(kind)} | {told} | {_cell(meaning(key))} |"


def _scalar(value: object) -> str:
    return "null" if value is None else str(value).replace("'", "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
