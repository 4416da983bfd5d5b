"""Writes checkpoints beside, checks and renames them, keeps the last few, and skips damaged ones.

What is divided among processes lies in `parts/`, written by each of them; the rest is written by the main one.
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
    """A checkpoint that is whole. damaged: newer ones that are not, with the reason."""

    folder: Path
    state: Mapping[str, Any]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """What a checkpoint holds.

    Attributes:
        save_student: writes a Hugging Face folder; called in the main process.
        optimizer: whose state is kept.
        state: plain values.
        teachers: the state of each, tensors and numbers by name.
        student: the student's parameters by name where they are divided among processes, and not in its folder.
    """

    save_student: Callable[[Path], object]
    optimizer: torch.optim.Optimizer
    state: Mapping[str, Any]
    teachers: Sequence[Mapping[str, Any]] = ()
    student: Mapping[str, torch.Tensor] = field(default_factory=dict[str, torch.Tensor])


def write(folder: Path, step: int, content: Content, keep: int, world: World | None = None) -> Path:
    """Write `folder/step-NNNNNN` and drop all but the newest `keep`. Called by all processes of `world`.

    The files are synced to disk under another name and renamed at the end, so a checkpoint that has its name is whole.
    Raises RunError where the disk refuses; the checkpoints before it stay as they are.
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
    except Exception as error:  # safetensors and transformers wrap the disk's errors in types of their own
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(f"checkpoint {target} could not be written, the ones before it are whole: {error}") from error
    for old in _listed(folder)[keep:] if world.main else ():
        shutil.rmtree(old, ignore_errors=True)
    return target


def _begin(beside: Path) -> None:
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)


def _write_parts(beside: Path, parts: Mapping[str, torch.Tensor], world: World) -> dict[str, dict[str, Any]]:
    """What the manifest says of the files of all processes, each of which reads some of them once more."""
    if not parts:
        return {}
    write_parts(beside / _PARTS, parts)
    files = sorted((beside / _PARTS).iterdir())
    own = {f"{_PARTS}/{file.name}": _described(file) for file in files[world.rank :: world.size]}
    return {name: about for part in world.gathered(own) for name, about in part.items()}


def _close(beside: Path, target: Path, digests: Mapping[str, dict[str, Any]]) -> None:
    """Write the manifest, and give the folder its name once everything is on the disk."""
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
    """The newest whole checkpoint in `folder`, None where there is none."""
    damaged: list[str] = []
    for candidate in _listed(folder):
        reason = _fault(candidate)
        if reason is None:
            state = json.loads((candidate / _STATE).read_text(encoding="utf-8"))
            return Found(candidate, state, tuple(damaged))
        damaged.append(f"{candidate.name}: {reason}")
    return None


def faults(folder: Path) -> list[str]:
    """What is wrong with each checkpoint in `folder` that can't be trusted, newest first."""
    return [f"{one.name}: {reason}" for one in _listed(folder) if (reason := _fault(one)) is not None]


def restore_optimizer(found: Found, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimiser's tensors and numbers back, onto the device of its parameters."""
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
    """Put the student's parameters back where they are divided among processes."""
    if any(name.startswith("student.") for name in _divided(found)):
        read_parts(found.folder / _PARTS, {f"student.{name}": value for name, value in parameters.items()})


def restore_divided(found: Found, states: Sequence[Mapping[str, Any]]) -> None:
    """Fill what is divided among processes in the states of the teachers as they are now."""
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
    """The names of what lies in `parts/`; none of a checkpoint from before there were such."""
    return found.state.get("parts", [])


def teacher_states(found: Found) -> list[dict[str, Any]]:
    """The state of each teacher, in the order in which they were written; none of a checkpoint without them. What is
    divided among processes is not in it."""
    states: list[dict[str, Any]] = [dict(numbers) for numbers in found.state.get("teachers", [])]
    if (found.folder / _TEACHERS).is_file():
        for name, tensor in load_file(found.folder / _TEACHERS).items():
            index, _, field = name.partition(".")
            states[int(index)][field] = tensor
    return states


def _pack_states(states: Sequence[Mapping[str, Any]]) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Flat tensors, and what JSON holds."""
    tensors = {
        f"{index}.{field}": _kept(value)
        for index, state in enumerate(states)
        for field, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    numbers = [{k: v for k, v in state.items() if not isinstance(v, torch.Tensor)} for state in states]
    return tensors, numbers


def _pack(optimizer: torch.optim.Optimizer) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The optimiser's state as flat tensors and JSON: no pickle is written, so none is ever read."""
    whole = optimizer.state_dict()
    tensors = {
        f"{index}.{field}": _kept(torch.as_tensor(value))
        for index, fields in whole["state"].items()
        for field, value in fields.items()
    }
    return tensors, {"param_groups": whole["param_groups"]}


def _kept(value: torch.Tensor) -> torch.Tensor:
    """As a file takes it; a part as it is."""
    return value.detach() if is_divided(value) else value.detach().cpu().contiguous().clone()


def _listed(folder: Path) -> list[Path]:
    """Checkpoint folders, newest first."""
    found = [path for path in folder.glob("step-*") if path.is_dir() and path.name[5:].isdigit()]
    return sorted(found, key=lambda path: int(path.name[5:]), reverse=True)


def _fault(folder: Path) -> str | None:
    """Why a checkpoint can't be trusted, None where it is whole."""
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
