"""Tensors that are divided among processes, in a folder: each process writes its parts, and reads what it now has.

Files are safetensors that torch.distributed.checkpoint writes and reads, so another number of processes can read them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from opdkit.errors import RunError


def is_divided(value: object) -> bool:
    """Whether this process holds a part of a tensor."""
    from torch.distributed.tensor import DTensor  # a second or so, which not every run needs

    return isinstance(value, DTensor)


def write_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Called by all processes. Raises RunError where one of them can't write."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
    _quietly(lambda: save({name: value.detach() for name, value in tensors.items()}, storage_writer=writer), "written")


def read_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Fill the parts of `tensors` that this process has. Called by all processes."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    reader = HuggingFaceStorageReader(path=str(folder))
    with torch.no_grad():
        _quietly(lambda: load({name: value.detach() for name, value in tensors.items()}, storage_reader=reader), "read")


def _quietly(act: Callable[[], object], done: str) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            act()
    except Exception as error:  # a CheckpointException holds an error of any type for each process that failed
        raise RunError(f"the parts of a checkpoint could not be {done}: {str(error).splitlines()[-1]}") from error
