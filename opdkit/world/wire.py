"""Serialises plain values, tensors and opdkit's dataclasses, without pickle, so that no code is run."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

_TEXT = "json"
_OWN = "opdkit."


def to_bytes(value: object) -> bytes:
    """One safetensors buffer with the tensors, and JSON with the structure around them.

    value: None, bool, int, float, str, Path, Tensor, and lists, tuples, dicts and opdkit dataclasses of these.
    Raises TypeError for anything else.
    """
    tensors: dict[str, Tensor] = {}
    text = json.dumps(_written(value, tensors)).encode()
    return save({**tensors, _TEXT: torch.frombuffer(bytearray(text), dtype=torch.uint8)})


def from_bytes(data: bytes) -> Any:
    """The value passed to `to_bytes`, with tensors on the CPU."""
    tensors = load(data)
    return _read(json.loads(tensors.pop(_TEXT).numpy().tobytes()), tensors)


def _written(value: object, tensors: dict[str, Tensor]) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Tensor):
        tensors[str(len(tensors))] = value.detach().cpu().contiguous().clone()
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Path):
        return {"path": str(value)}
    if isinstance(value, tuple) and value and all(type(item) is int for item in value):
        return {"ids": _written(torch.tensor(value, dtype=torch.int64), tensors)}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_written(item, tensors) for item in cast(list[object], value)]}
    if isinstance(value, Mapping):
        pairs = cast(Mapping[object, object], value).items()
        return {"dict": [[_written(key, tensors), _written(item, tensors)] for key, item in pairs]}
    kind = type(value)
    if dataclasses.is_dataclass(value) and kind.__module__.startswith(_OWN):
        fields = {f.name: _written(getattr(value, f.name), tensors) for f in dataclasses.fields(value) if f.init}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": fields}
    raise TypeError(f"a {kind.__name__} can't be sent to another process")


def _read(node: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    if "class" in node:
        fields = {name: _read(item, tensors) for name, item in node["fields"].items()}
        return _class(node["class"])(**fields)
    ((kind, content),) = node.items()
    if kind == "tensor":
        return tensors[str(content)]
    if kind == "path":
        return Path(content)
    if kind == "ids":
        return tuple(_read(content, tensors).tolist())
    if kind == "dict":
        return {_read(key, tensors): _read(item, tensors) for key, item in content}
    items = [_read(item, tensors) for item in content]
    return items if kind == "list" else tuple(items)


def _class(name: str) -> type:
    """An opdkit dataclass that is already imported."""
    module, _, qualified = name.partition(":")
    found = getattr(sys.modules.get(module), qualified, None) if module.startswith(_OWN) else None
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise TypeError(f"{name} is no dataclass of opdkit")
    return found
