"""Checks a group's keys and values against the signature of its `_target_`, without calling it."""

from __future__ import annotations

import importlib
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, cast

from opdkit.config.near import near_miss, no_value, refusal
from opdkit.errors import UserError
from opdkit.untrusted import of_pythons_library

_MISSING = "???"
_HYDRAS_OWN = "_recursive_"  # false: nested values are passed on unchanged
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}


def bind(key: str, node: object) -> None:
    """Raises UserError for arguments that `_target_` would not accept. `key` is the node's path, for the message."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        raise UserError(f"{key}: not an option; it has no _target_ (choose one: `opdkit ls {key}`)")
    values = dict(cast(Mapping[str, Any], node))
    values.pop(_HYDRAS_OWN, None)
    target = locate(key, values.pop("_target_"))
    signature = _signature(key, target)
    hints = _hints(target)
    keyed = _keyed(signature)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    for name, value in values.items():
        if name not in keyed and not takes_any:
            raise UserError(refusal(f"{key}.{name}", f"no such key in {_name(target)}", name, keyed))
        _check(f"{key}.{name}", value, hints.get(name, Any))
    for name, parameter in keyed.items():
        if parameter.default is parameter.empty and name not in values:
            raise UserError(f"{key}.{name}: {_name(target)} requires it")


def keys_of(key: str, path: object) -> list[str]:
    """Parameter names of the class or function of a `_target_`; empty if it can't be inspected."""
    try:
        return list(_keyed(_signature(key, locate(key, path))))
    except UserError:
        return []


def locate(key: str, path: object) -> Any:
    """The class or function named by a `_target_`. Raises UserError."""
    parts = path.split(".") if isinstance(path, str) else []
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise UserError(f"{key}._target_: {path!r} is not a dotted path to a class")
    if of_pythons_library(parts[0]):
        raise UserError(
            f"{key}._target_: {path} is in Python's standard library; allowed: a class of opdkit, an installed package "
            "or a module in the working directory"
        )
    module, name = ".".join(parts[:-1]), parts[-1]
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{key}._target_: cannot import {module} ({error})") from error
    found = getattr(imported, name, None)
    if not callable(found):
        raise UserError(f"{key}._target_: {module} has no {name}{near_miss(name, dir(imported))}")
    return found


def _signature(key: str, target: Any) -> inspect.Signature:
    try:
        return inspect.signature(target)
    except (TypeError, ValueError) as error:
        raise UserError(f"{key}._target_: {_name(target)} has no signature to check against") from error


def _keyed(signature: inspect.Signature) -> dict[str, inspect.Parameter]:
    """Parameters that can be passed by keyword."""
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: parameter for name, parameter in signature.parameters.items() if parameter.kind in by_name}


def _hints(target: Any) -> dict[str, Any]:
    """Type hints of the target's parameters; empty if they can't be resolved (imported for type checkers only)."""
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):
        return {}


def _name(target: Any) -> str:
    return getattr(target, "__name__", str(target))


def _check(key: str, value: Any, hint: Any) -> None:
    if isinstance(value, Mapping) and "_target_" in value:
        bind(key, cast(object, value))
        return
    if value == _MISSING:
        raise UserError(no_value(key))
    if not _fits(value, hint):
        raise UserError(f"{key}={_shown(value)}: must be {_wanted(hint)}{_near(value, hint)}")
    _check_inner(key, value)


def _check_inner(key: str, value: Any) -> None:
    """Binds objects nested in lists and mappings."""
    if isinstance(value, Mapping):
        for name, inner in cast(Mapping[str, Any], value).items():
            if isinstance(inner, Mapping) and "_target_" in inner:
                bind(f"{key}.{name}", cast(object, inner))
    elif isinstance(value, list):
        for position, inner in enumerate(cast(list[Any], value)):
            if isinstance(inner, Mapping) and "_target_" in inner:
                bind(f"{key}.{position}", cast(object, inner))


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in arguments)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in arguments)
    if hint in (None, type(None)):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    if hint in (str, Path):
        return isinstance(value, str)
    outer = _outer(hint)
    if issubclass(outer, Mapping):
        return isinstance(value, Mapping)
    if issubclass(outer, Sequence):
        return isinstance(value, list) and _elements_fit(cast(list[Any], value), cast(object, outer), arguments)
    return outer is object or not isinstance(value, (str, int, float))


def _outer(hint: Any) -> type:
    """The class of a type hint (list for list[int]); object for non-classes and Any."""
    if hint is Any:  # a class, since Python 3.11
        return object
    outer = typing.get_origin(hint) or hint
    return cast(type, outer) if inspect.isclass(outer) else object


def _elements_fit(values: list[Any], outer: object, arguments: tuple[Any, ...]) -> bool:
    if not arguments:
        return True
    if outer is tuple and Ellipsis not in arguments:
        return len(values) == len(arguments) and all(map(_fits, values, arguments))
    return all(_fits(value, arguments[0]) for value in values)


def _wanted(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_wanted(choice) for choice in arguments)
    if origin is Literal:
        return "one of " + ", ".join(map(str, arguments))
    if hint in (None, type(None)):
        return "null"
    if hint in _WORDS:
        return _WORDS[hint]
    outer = _outer(hint)
    if issubclass(outer, Mapping):
        return "a mapping"
    if issubclass(outer, Sequence):
        return _wanted_elements(cast(object, outer), arguments)
    return f"an object with a _target_ ({outer.__name__})"


def _wanted_elements(outer: object, arguments: tuple[Any, ...]) -> str:
    if not arguments:
        return "a list"
    if outer is tuple and Ellipsis not in arguments:
        return f"a list of {len(arguments)}: " + ", ".join(map(_wanted, arguments))
    return f"a list, each {_wanted(arguments[0])}"


def _near(value: Any, hint: Any) -> str:
    choices = typing.get_args(hint) if typing.get_origin(hint) is Literal else ()
    return near_miss(str(value), map(str, choices))


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."
