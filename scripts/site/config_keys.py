"""Reads the keys of a configuration file with their types, defaults and meanings."""

from __future__ import annotations

import functools
import importlib
import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opdkit.config.location import conf_dir
from opdkit.config.schema import SCHEMAS

_CONTAINERS = {"Sequence": "list", "tuple": "list", "Mapping": "mapping", "dict": "mapping"}
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FIELD = r"(?:^|[\s;(]){}`{{0,2}}(?: \([^)]*\))?: (.+?)(?=;\s+\w+: |\.(?:\s|$)|\n\s*\n|\n\s*\w+: |;?$)"
"""Pattern for a field's description in a docstring, with a placeholder for its name."""


@dataclass(frozen=True)
class Key:
    """One key of a yaml file.

    Attributes:
        name: its dotted path inside the file.
        default: its value, as yaml writes it.
        comment: the comment after it.
        target: the class whose argument it is, as a dotted path, or None.
        argument: its name as an argument of the class; "" for a key inside of one.
        kind: the type of its value.
    """

    name: str
    default: str
    comment: str
    target: str | None
    argument: str
    kind: str


@functools.cache
def keys(file: Path) -> tuple[Key, ...]:
    """The keys of a yaml file in order; a mapping is replaced by its keys."""
    text = file.read_text(encoding="utf-8")
    node = yaml.compose(text, Loader=LOADER)
    if not isinstance(node, yaml.MappingNode):
        return ()
    base = _target(node) or _inherited(file)
    return tuple(_walk(node, "", base, text, ""))


def _inherited(file: Path) -> str | None:
    """The `_target_` that a file inherits from the option it builds on."""
    read = yaml.load(file.read_text(encoding="utf-8"), Loader=LOADER) or {}
    if "_target_" in read:
        return str(read["_target_"])
    for entry in read.get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            parent = file.parent / f"{entry}.yaml"
            if parent.is_file():
                return _inherited(parent)
    return None


def _walk(node: yaml.MappingNode, prefix: str, target: str | None, text: str, outer: str) -> Iterator[Key]:
    lines = text.splitlines()
    for key, value in node.value:
        name = f"{prefix}{key.value}"
        if name == "defaults" or (key.value.startswith("_") and key.value.endswith("_")):
            continue
        comment = _comment(lines, key, value)
        argument = key.value if not outer else ""
        if isinstance(value, yaml.MappingNode) and value.value and not value.flow_style:
            inner = _target(value)
            here = Key(name, inner.rpartition(".")[2] if inner else "", comment, target, argument, "mapping")
            if comment or inner:
                yield here
            yield from _walk(value, f"{name}.", inner or target, text, "" if inner else name)
            continue
        default = text[value.start_mark.index : value.end_mark.index].strip()
        yield Key(name, default, comment, target, argument, _kind(target, argument, value))


def _comment(lines: list[str], key: yaml.Node, value: yaml.Node) -> str:
    """The comment at the end of the key's line, or of the line where its value ends."""
    at = key.start_mark.line if isinstance(value, yaml.MappingNode) and not value.flow_style else value.end_mark.line
    if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
        at = key.start_mark.line
    line = lines[at] if at < len(lines) else ""
    start = value.end_mark.column if at == value.end_mark.line else key.end_mark.column
    return line[start:].partition("# ")[2].strip()


def _target(node: yaml.MappingNode) -> str | None:
    return next((str(v.value) for k, v in node.value if k.value == "_target_"), None)


def _kind(target: str | None, argument: str, value: yaml.Node) -> str:
    if target and argument:
        found = written(_hints(target).get(argument))
        if found:
            return found
    names = {
        "int": "int",
        "float": "float",
        "bool": "bool",
        "null": "null",
        "str": "str",
        "seq": "list",
        "map": "mapping",
    }
    return names.get(value.tag.rpartition(":")[2], "str")


@functools.cache
def _hints(target: str) -> dict[str, Any]:
    """Argument -> its type; if one is imported only for type checking, all stay text."""
    found = _located(target)
    called = found if inspect.isfunction(found) else found.__init__
    try:
        return typing.get_type_hints(called)
    except NameError:
        return dict(inspect.get_annotations(called))


@functools.cache
def meanings(target: str) -> dict[str, str]:
    """Argument of a class -> its description in the docstring of the class or a base class."""
    found = _located(target)
    told: dict[str, str] = {}
    for cls in reversed(inspect.getmro(found)) if inspect.isclass(found) else [found]:
        text = inspect.getdoc(cls) or ""
        for name in _hints(target):
            said = re.search(_FIELD.format(name), text, re.DOTALL)
            if said:
                told[name] = " ".join(said.group(1).split())
    return told


@functools.cache
def comments() -> tuple[dict[tuple[str, str], str], dict[str, str]]:
    """(class, argument) -> the first comment after it in any file, and key of a root -> its comment."""
    by_class: dict[tuple[str, str], str] = {}
    by_name: dict[str, str] = {}
    for root in SCHEMAS:
        for key in keys(conf_dir() / f"{root}.yaml"):
            if key.comment:
                by_name.setdefault(key.name, key.comment)
    for file in sorted(conf_dir().rglob("*/*.yaml")):
        for key in keys(file):
            if key.comment and key.target and key.argument:
                by_class.setdefault((key.target, key.argument), key.comment)
    return by_class, by_name


def _located(target: str) -> Any:
    module, _, name = target.rpartition(".")
    return getattr(importlib.import_module(module), name)


def written(hint: object) -> str:
    """A readable type: `int or null`, `one of a, b`."""
    if hint is None or hint is inspect.Parameter.empty:
        return ""
    if hint is type(None):
        return "null"
    if isinstance(hint, str):
        return hint.replace("| None", "or null")
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(str, inside))
    if inside and (origin is typing.Union or type(hint).__name__ == "UnionType"):
        return " or ".join(dict.fromkeys(written(one) for one in inside))
    if origin is not None:
        name = _CONTAINERS.get(str(origin.__name__), str(origin.__name__))
        first = written(inside[-1] if name == "mapping" else inside[0]) if inside else ""
        return f"{name} of {first}" if first not in ("", "Any", "object") else name
    name = str(getattr(hint, "__name__", hint))
    return "" if name in ("Any", "object") else name


def meaning(key: Key) -> str:
    """What a key means.

    The first of: its comment, the docstring of its class, a comment on the same argument in another file, the
    comment on the root's key of this name, and meanings.yaml, by the full name or its last part.
    """
    by_class, by_name = comments()
    last = key.name.rpartition(".")[2]
    argument = (key.target or "", key.argument)
    docstring = meanings(key.target).get(key.argument, "") if key.target and key.argument else ""
    glossary = _glossary()
    return (
        key.comment
        or docstring
        or by_class.get(argument, "")
        or by_name.get(key.name, "")
        or glossary.get(key.name, "")
        or glossary.get(last, "")
    )


@functools.cache
def _glossary() -> dict[str, str]:
    return yaml.safe_load((Path(__file__).parent / "meanings.yaml").read_text(encoding="utf-8"))
