"""The device of this process: a CUDA (or ROCm) GPU if torch sees one, else the CPU.

ACCELERATE_USE_CPU=true keeps a process on the CPU of a machine with GPUs. Apple and Intel GPUs are not used: Apple's
have no float64, which the diagnostics need, and neither has been tested.
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
    """The device type, as named by torch."""
    return "cuda" if uses_cuda() else "cpu"


def accelerator(precision: str) -> Accelerator:
    """An `Accelerator` on this device, in bfloat16 if `precision` says so.

    In bfloat16, a GPU multiplies float32 matrices (lm_head and the hidden states it reads) in TF32: an error of .0017
    nats in a log-prob (mean, random logits of standard deviation 6), where rounding them to bfloat16 costs .014.
    """
    from accelerate import Accelerator

    if uses_cuda():  # read once by cuBLAS; without it the order of summation may vary from run to run
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cuda.matmul.allow_tf32 = precision == "bfloat16"
    return Accelerator(cpu=not uses_cuda(), mixed_precision="bf16" if precision == "bfloat16" else "no")


def take_own_gpu() -> None:
    """Assign each of several processes on a machine its own GPU.

    Raises UserError on every rank if there are fewer GPUs than processes: NCCL does not allow two ranks on one GPU.
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
    """A context with deterministic backward passes, as on a CPU, so that a run is bitwise reproducible.

    Without it, the accumulation order of attention gradients and of index_add on repeated ids varies.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if not wanted or before or not uses_cuda():
        yield
        return
    # Filling uninitialised memory, a debugging aid, costs time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def synchronize() -> None:
    """Wait for all queued GPU work, so that a timing is valid."""
    if uses_cuda():
        torch.cuda.synchronize()


def empty_cache() -> None:
    """Return torch's cached GPU memory."""
    if uses_cuda():
        torch.cuda.empty_cache()
