"""Writes checkpoints beside, checks and renames them, keeps the last few, and skips damaged ones."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from opdkit.errors import RunError

_MANIFEST = "manifest.json"
_OPTIMIZER = "optimizer.safetensors"
_TEACHERS = "teachers.safetensors"
_STATE = "state.json"


@dataclass(frozen=True)
class Found:
    """A checkpoint that is whole. damaged: newer ones that are not, with the reason."""

    folder: Path
    state: Mapping[str, Any]
    damaged: tuple[str, ...]


def write(
    folder: Path, step: int, save_student: Callable[[Path], None], optimizer: torch.optim.Optimizer,
    state: Mapping[str, Any], keep: int, teachers: Sequence[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """Write `folder/step-NNNNNN` and drop all but the newest `keep`.

    save_student writes a Hugging Face folder. teachers: the state of each, tensors and numbers by name. The files are
    synced to disk under another name and renamed at the end, so a checkpoint that has its name is whole. Raises
    RunError where the disk refuses; the checkpoints before it stay as they are.
    """
    target = folder / f"step-{step:06d}"
    beside = folder / f".writing-step-{step:06d}"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        save_student(beside)
        tensors, plain = _pack(optimizer)
        save_file(tensors, beside / _OPTIMIZER)
        weights, numbers = _pack_states(teachers)
        if weights:
            save_file(weights, beside / _TEACHERS)
        content = {"step": step, "optimizer": plain, "teachers": numbers, **state}
        (beside / _STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")
        names = sorted(path.name for path in beside.iterdir() if path.is_file())
        manifest = {name: {"bytes": (beside / name).stat().st_size, "sha256": _digest(beside / name)} for name in names}
        (beside / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        for name in [*names, _MANIFEST]:
            _sync(beside / name)
        _sync(beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
        _sync(folder)
    except Exception as error:  # safetensors and transformers wrap the disk's errors in types of their own
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(f"checkpoint {target} could not be written, the ones before it are whole: {error}") from error
    for old in _listed(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


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


def restore_optimizer(found: Found, optimizer: torch.optim.Optimizer) -> None:
    """Put the optimiser's tensors and numbers back, onto the device of its parameters."""
    tensors = load_file(found.folder / _OPTIMIZER)
    plain = found.state["optimizer"]
    state: dict[int, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": plain["param_groups"]})


def teacher_states(found: Found) -> list[dict[str, Any]]:
    """The state of each teacher, in the order in which they were written; none of a checkpoint without them."""
    states: list[dict[str, Any]] = [dict(numbers) for numbers in found.state.get("teachers", [])]
    if (found.folder / _TEACHERS).is_file():
        for name, tensor in load_file(found.folder / _TEACHERS).items():
            index, _, field = name.partition(".")
            states[int(index)][field] = tensor
    return states


def _pack_states(states: Sequence[Mapping[str, Any]]) -> tuple[dict[str, torch.Tensor], list[dict[str, Any]]]:
    """Flat tensors, and what JSON holds."""
    tensors = {
        f"{index}.{field}": value.detach().cpu().contiguous().clone()
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
        f"{index}.{field}": torch.as_tensor(value).detach().cpu().contiguous().clone()
        for index, fields in whole["state"].items()
        for field, value in fields.items()
    }
    return tensors, {"param_groups": whole["param_groups"]}


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
