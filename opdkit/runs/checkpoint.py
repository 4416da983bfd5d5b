"""Writes checkpoints atomically, keeps the latest few, and skips damaged ones.

Sharded tensors are in `parts/`, written by every process; the rest is written by the main one.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from opdkit.errors import RunError
from opdkit.runs.parts import is_divided, read_parts, write_parts
from opdkit.world.world import PeerLostError, World

_MANIFEST = "manifest.json"
_OPTIMIZER = "optimizer.safetensors"
_TEACHERS = "teachers.safetensors"
_STATE = "state.json"
_PARTS = "parts"


@dataclass(frozen=True)
class Found:
    """An intact checkpoint. damaged: newer damaged ones, with reasons."""

    folder: Path
    state: Mapping[str, Any]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """The contents of a checkpoint.

    Attributes:
        save_student: writes a Hugging Face folder; called in the main process.
        optimizer: the optimizer whose state is saved.
        state: plain values.
        teachers: the state of each teacher, tensors and numbers by name.
        student: the student's parameters by name if sharded, and thus not in its folder.
    """

    save_student: Callable[[Path], object]
    optimizer: torch.optim.Optimizer
    state: Mapping[str, Any]
    teachers: Sequence[Mapping[str, Any]] = ()
    student: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


def write(folder: Path, step: int, content: Content, keep: int, world: World | None = None) -> Path:
    """Writes `folder/step-NNNNNN` and deletes all but the latest `keep`. Called by all processes of `world`.

    Files are synced to disk under a temporary name and renamed at the end, so a checkpoint with its final name is
    complete. Raises RunError if writing fails; earlier checkpoints are unchanged.
    """
    world = world or World()
    target = folder / f"step-{step:06d}"
    beside = folder / f".writing-step-{step:06d}"
    tensors, plain = _pack(content.optimizer)
    weights, numbers = _pack_states(content.teachers)
    kept = {f"optimizer.{n}": t for n, t in tensors.items()} | {f"teachers.{n}": t for n, t in weights.items()}
    parts = {f"student.{n}": t for n, t in content.student.items()} | {n: t for n, t in kept.items() if is_divided(t)}
    state = {"step": step, "optimizer": plain, "teachers": numbers, "parts": sorted(parts), **content.state}
    try:
        world.from_main(lambda: _begin(beside))
        digests = _write_parts(beside, parts, world)

        def finish() -> None:
            content.save_student(beside)
            for file, prefix in ((_OPTIMIZER, "optimizer."), (_TEACHERS, "teachers.")):
                whole = {n.removeprefix(prefix): t for n, t in kept.items() if n.startswith(prefix) and n not in parts}
                if whole or file == _OPTIMIZER:
                    save_file(whole, beside / file)
            (beside / _STATE).write_text(json.dumps(state, indent=1), encoding="utf-8")
            _close(beside, target, digests)

        world.from_main(finish)
    except PeerLostError:
        raise
    except Exception as error:  # safetensors and transformers wrap disk errors in their own types
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(f"checkpoint {target} could not be written; earlier checkpoints are intact: {error}") from error
    for old in _listed(folder)[keep:] if world.main else ():
        shutil.rmtree(old, ignore_errors=True)
    return target


def _begin(beside: Path) -> None:
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)


def _write_parts(beside: Path, parts: Mapping[str, torch.Tensor], world: World) -> dict[str, dict[str, Any]]:
    """Manifest entries of the files of all processes, each of which hashes some of them."""
    if not parts:
        return {}
    write_parts(beside / _PARTS, parts)
    files = sorted((beside / _PARTS).iterdir())
    own = {f"{_PARTS}/{file.name}": _described(file) for file in files[world.rank :: world.size]}
    return {name: about for part in world.gathered(own) for name, about in part.items()}


def _close(beside: Path, target: Path, digests: Mapping[str, dict[str, Any]]) -> None:
    """Writes the manifest and renames the folder once everything is on disk."""
    names = sorted(path.name for path in beside.iterdir() if path.is_file())
    manifest = {name: _described(beside / name) for name in names} | dict(digests)
    (beside / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for name in [*names, _MANIFEST]:
        _sync(beside / name)
    _sync(beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.rename(target)
    _sync(target.parent)


def _described(file: Path) -> dict[str, Any]:
    _sync(file)
    return {"bytes": file.stat().st_size, "sha256": _digest(file)}


def newest(folder: Path) -> Found | None:
    """The latest intact checkpoint in `folder`, or None."""
    damaged: list[str] = []
    for candidate in _listed(folder):
        reason = _fault(candidate)
        if reason is None:
            state = json.loads((candidate / _STATE).read_text(encoding="utf-8"))
            return Found(candidate, state, tuple(damaged))
        damaged.append(f"{candidate.name}: {reason}")
    return None


def faults(folder: Path) -> list[str]:
    """The faults of damaged checkpoints in `folder`, latest first."""
    return [f"{one.name}: {reason}" for one in _listed(folder) if (reason := _fault(one)) is not None]


def restore_optimizer(found: Found, optimizer: torch.optim.Optimizer) -> None:
    """Restores the optimiser's state onto the device of its parameters."""
    tensors = load_file(found.folder / _OPTIMIZER)
    plain = found.state["optimizer"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    names = [name.removeprefix("optimizer.") for name in _divided(found) if name.startswith("optimizer.")]
    parts = {name: torch.zeros_like(parameters[int(name.partition(".")[0])]) for name in names}
    if parts:
        read_parts(found.folder / _PARTS, {f"optimizer.{name}": part for name, part in parts.items()})
    tensors |= parts
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})


def restore_student(found: Found, parameters: Mapping[str, torch.Tensor]) -> None:
    """Restores the student's parameters if they are sharded."""
    if any(name.startswith("student.") for name in _divided(found)):
        read_parts(found.folder / _PARTS, {f"student.{name}": value for name, value in parameters.items()})


def restore_divided(found: Found, states: Sequence[Mapping[str, Any]]) -> None:
    """Loads sharded tensors into the teachers' current states."""
    names = set(_divided(found))
    parts = {
        name: value
        for index, state in enumerate(states)
        for field, value in state.items()
        if (name := f"teachers.{index}.{field}") in names
    }
    if parts:
        read_parts(found.folder / _PARTS, parts)


def _divided(found: Found) -> list[str]:
    """Names of the tensors in `parts/`; empty for checkpoints from before it existed."""
    return found.state.get("parts", [])


def teacher_states(found: Found) -> list[dict[str, Any]]:
    """The state of each teacher, in saved order; empty for a checkpoint without them. Excludes sharded
    tensors."""
    states: list[dict[str, Any]] = [dict(numbers) for numbers in found.state.get("teachers", [])]
    if (found.folder / _TEACHERS).is_file():
        for name, tensor in load_file(found.folder / _TEACHERS).items():
            index, _, field = name.partition(".")
            states[int(index)][field] = tensor
    return states


def _pack_states(states: Sequence[Mapping[str, Any]]) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Splits states into flat tensors and JSON values."""
    tensors = {
        f"{index}.{field}": _kept(value)
        for index, state in enumerate(states)
        for field, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    numbers = [{k: v for k, v in state.items() if not isinstance(v, torch.Tensor)} for state in states]
    return tensors, numbers


def _pack(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimiser's state as flat tensors and JSON: no pickle is ever written or read."""
    whole = optimizer.state_dict()
    tensors = {
        f"{index}.{field}": _kept(torch.as_tensor(value))
        for index, fields in whole["state"].items()
        for field, value in fields.items()
    }
    return tensors, {"param_groups": whole["param_groups"]}


def _kept(value: torch.Tensor) -> torch.Tensor:
    """A tensor prepared for saving; shards unchanged."""
    return value.detach() if is_divided(value) else value.detach().cpu().contiguous().clone()


def _listed(folder: Path) -> list[Path]:
    """Checkpoint folders, latest first."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _fault(folder: Path) -> str | None:
    """Why a checkpoint is damaged, None if it is intact."""
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        for name, wanted in manifest.items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != wanted["bytes"]:
                return f"{name} has {path.stat().st_size} bytes of {wanted['bytes']}"
            if _digest(path) != wanted["sha256"]:
                return f"{name} has changed since it was written"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} is missing or unreadable"
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
