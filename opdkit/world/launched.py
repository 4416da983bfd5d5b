"""The start and the end of processes that torchrun has started around one command."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

from opdkit.errors import RunError, UserError

if TYPE_CHECKING:
    from opdkit.world.world import World

_TIMEOUT = "OPDKIT_TIMEOUT_S"
_DEFAULT_TIMEOUT_S = 1800
_TOLD = "opdkit/told"
# What `accelerate launch` sets for ways of sharding of its own.
_OTHER_WAYS = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
# How long another process leaves it to the main one to tell an error that both have.
_PATIENCE_S = 2.0


def several() -> bool:
    """Whether a launcher has started more than one process; its environment variables say so."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1") and "RANK" in os.environ


class Store(Protocol):
    """As much of torch.distributed's store as is used here: what one process sets, all see."""

    def check(self, keys: list[str], /) -> bool: ...

    def compare_set(self, key: str, expected_value: str, desired_value: str, /) -> bytes: ...


def current() -> World:
    """The processes of this command. torch is imported here, since not every command needs it."""
    from opdkit.world.world import World

    return World.current()


@contextmanager
def joined(command: str, allowed: tuple[str, ...], teller: Teller) -> Iterator[None]:
    """Join the other processes for the time of `command`. Raises UserError where it is none of `allowed`.

    Collectives of CPU tensors run over gloo, those of CUDA tensors over NCCL. A process that does not answer for
    OPDKIT_TIMEOUT_S seconds (1800) counts as lost.
    """
    if not several():
        yield
        return
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    from opdkit import device

    limit = timedelta(seconds=_timeout())
    store, rank, size = next(iter(rendezvous("env://", timeout=limit)))
    teller.connect(store, rank)
    with teller.heard():
        if command not in allowed:
            raise UserError(f"{command} runs in one process: start it without torchrun ({', '.join(allowed)} may have)")
        if any(os.environ.get(name, "").lower() in ("1", "true") for name in _OTHER_WAYS):
            raise UserError(
                "accelerate launch with a way of sharding of its own (--use_fsdp, DeepSpeed, Megatron): start it with "
                "--multi_gpu, and say shard=fsdp2"
            )
        device.take_own_gpu()
        backend = "cpu:gloo,cuda:nccl" if device.uses_cuda() else "gloo"
        distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=limit)
        yield
        distributed.destroy_process_group()


class Teller:
    """Decides which of the processes tells an error: the main one where it has it, else the first that has."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._rank = 0

    def connect(self, store: Store, rank: int) -> None:
        """From now on there are others: what `store` holds is seen by all of them."""
        self._store, self._rank = store, rank

    @contextmanager
    def heard(self) -> Iterator[None]:
        """A defect's traceback is enough: what it causes in the other processes is not told on top of it."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, UserError | RunError):
                self.first(patience_s=0.0)
            raise

    def first(self, patience_s: float = _PATIENCE_S) -> bool:
        """Whether this process is the one to tell. True once."""
        if self._store is None:
            return True
        own = str(self._rank)
        try:
            until = time.monotonic() + patience_s
            while self._rank and time.monotonic() < until and not self._store.check([_TOLD]):
                time.sleep(0.05)
            return self._store.compare_set(_TOLD, "", own) == own.encode()
        except RuntimeError:  # the store went with the process that kept it
            return self._rank == 0


def _timeout() -> float:
    given = os.environ.get(_TIMEOUT, str(_DEFAULT_TIMEOUT_S))
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise UserError(f"{_TIMEOUT}={given}: must be a number of seconds above 0")
    return seconds
