"""Joins and leaves the process group of a command launched by torchrun."""

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
_REPORTED = "opdkit/told"
# Set by `accelerate launch` for its own sharding modes, which are not supported.
_OTHER_WAYS = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM")
# How long another rank waits for rank 0 to report an error that both have.
_PATIENCE_S = 2.0


def several() -> bool:
    """Whether a launcher has started more than one process, by its environment variables."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1") and "RANK" in os.environ


class Store(Protocol):
    """The part of torch.distributed's key-value store used here."""

    def check(self, keys: list[str], /) -> bool: ...

    def compare_set(self, key: str, expected_value: str, desired_value: str, /) -> bytes: ...


def current() -> World:
    """The current world. Imports torch lazily, since not every command needs it."""
    from opdkit.world.world import World

    return World.current()


@contextmanager
def joined(command: str, allowed: tuple[str, ...], teller: Teller) -> Iterator[None]:
    """A context in the process group, for the duration of `command`. Raises UserError unless it is in `allowed`.

    Collectives of CPU tensors use gloo, those of CUDA tensors NCCL. A rank that does not respond for
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
    """Decides which rank reports an error: rank 0 if it has the error, else the first rank that has."""

    def __init__(self) -> None:
        self._store: Store | None = None
        self._rank = 0

    def connect(self, store: Store, rank: int) -> None:
        """Coordinate with the other ranks through `store`."""
        self._store, self._rank = store, rank

    @contextmanager
    def heard(self) -> Iterator[None]:
        """A context for errors that end in a traceback, after which no other rank reports an error."""
        try:
            yield
        except Exception as error:
            if not isinstance(error, UserError | RunError):
                self.first(patience_s=0.0)
            raise

    def first(self, patience_s: float = _PATIENCE_S) -> bool:
        """Whether this rank must report the error. True at most once."""
        if self._store is None:
            return True
        own = str(self._rank)
        try:
            until = time.monotonic() + patience_s
            while self._rank and time.monotonic() < until and not self._store.check([_REPORTED]):
                time.sleep(0.05)
            return self._store.compare_set(_REPORTED, "", own) == own.encode()
        except RuntimeError:  # the rank that hosted the store has exited
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
