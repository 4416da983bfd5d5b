"""Saves and loads sharded tensors: each process writes and reads its own shards.

Files are safetensors written by torch.distributed.checkpoint, so a different number of processes can load them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from opdkit.errors import RunError


def is_divided(value: object) -> bool:
    """Whether a tensor is sharded."""
    from torch.distributed.tensor import DTensor  # takes about a second, which not every run needs

    return isinstance(value, DTensor)


def write_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Writes all shards. Called by all processes. Raises RunError if any of them can't write."""
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    writer = HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
    _quietly(lambda: save({name: value.detach() for name, value in tensors.items()}, storage_writer=writer), "written")


def read_parts(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Loads this process's shards of `tensors` in place. Called by all processes."""
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
    except Exception as error:  # a CheckpointException contains an error of any type per failed process
        raise RunError(f"the parts of a checkpoint could not be {done}: {str(error).splitlines()[-1]}") from error
