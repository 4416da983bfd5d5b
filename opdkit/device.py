"""Which device this process computes on: a CUDA (or ROCm) GPU where torch sees one, else the CPU.

ACCELERATE_USE_CPU=true keeps a process on the CPU of a machine that has GPUs. Apple's and Intel's GPUs are not used:
sums in float64, which the diagnostics take, do not exist on the first, and neither was tried.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import torch

from opdkit.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

_CPU = "ACCELERATE_USE_CPU"


def uses_cuda() -> bool:
    """Whether this process computes on a GPU."""
    return os.environ.get(_CPU, "").lower() not in ("1", "true", "yes", "y", "on", "t") and torch.cuda.is_available()


def kind() -> Literal["cuda", "cpu"]:
    """The kind of device, as torch names it."""
    return "cuda" if uses_cuda() else "cpu"


def accelerator(precision: str) -> Accelerator:
    """accelerate's, on this device; bfloat16 where `precision` says so."""
    from accelerate import Accelerator

    if uses_cuda():  # cuBLAS reads it once; without it products may be added up in another order from run to run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    return Accelerator(cpu=not uses_cuda(), mixed_precision="bf16" if precision == "bfloat16" else "no")


def take_own_gpu() -> None:
    """Give each of several processes on a machine a GPU of its own.

    Raises UserError, in each of them, where there are fewer GPUs than processes: NCCL refuses two on one.
    """
    if not uses_cuda():
        return
    processes, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if processes > gpus:
        raise UserError(
            f"{processes} processes on a machine with {gpus} GPU{'s' if gpus > 1 else ''}: start no more than that "
            f"(--nproc_per_node {gpus}), or keep them on the CPU ({_CPU}=true)"
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


@contextmanager
def in_fixed_order(wanted: bool) -> Iterator[None]:
    """Backward passes inside add up in one order, as those on a CPU always do, so that a run repeats bit for bit.

    Otherwise gradients of rows that several positions name, and those of attention, are added up as they come.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if not wanted or before or not uses_cuda():
        yield
        return
    # Memory filled to show mistakes costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def synchronize() -> None:
    """Wait until the GPU has done what it was asked, so that a clock may be read."""
    if uses_cuda():
        torch.cuda.synchronize()


def empty_cache() -> None:
    """Hand back GPU memory that torch keeps for later."""
    if uses_cuda():
        torch.cuda.empty_cache()
