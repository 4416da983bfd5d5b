"""The collectives between the ranks of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from opdkit.errors import RunError
from opdkit.world.wire import from_bytes, to_bytes

T = TypeVar("T")
Item = TypeVar("Item")
Result = TypeVar("Result")


class PeerLostError(RunError):
    """Another rank of the run has ended or does not respond."""


@dataclass(frozen=True)
class World:
    """The ranks of a run, as seen by one of them. With a single rank nothing is communicated.

    Every method but `shard` and `enter` is collective: all ranks must call it, in the same order. Raises PeerLostError
    for a lost rank.

    Attributes:
        rank: this process's rank.
        size: the world size.
        group: the process group, None for torch's default group.
    """

    rank: int = 0
    size: int = 1
    group: distributed.ProcessGroup | None = None

    @classmethod
    def current(cls) -> World:
        """The ranks of torch.distributed, a single one if it is not initialised; in a thread with its own world
        (`enter`), that world."""
        if _OF_THREAD.world is not None:
            return _OF_THREAD.world
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    def apart(self) -> World:
        """The same ranks over a separate process group (CPU tensors, gloo), for a thread that communicates
        concurrently with another. Collective."""
        if self.size == 1:
            return self
        # torch does not apply the default group's timeout to other groups. The type stubs lack this attribute.
        store = cast(Any, distributed.group.WORLD).get_group_store()
        with _together():
            return replace(self, group=distributed.new_group(timeout=store.timeout, backend="gloo"))

    def enter(self) -> None:
        """Make this the `current` world of the calling thread."""
        _OF_THREAD.world = self

    @property
    def main(self) -> bool:
        """Whether this is rank 0, which writes, logs and shows progress."""
        return self.rank == 0

    def shard(self, count: int) -> range:
        """This rank's shard of `count` rows: consecutive, with sizes that differ by at most one."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, value: Tensor) -> Tensor:
        """All-reduce: the sum over all ranks, bitwise equal on each."""
        if self.size > 1:
            value = value.clone()
            with _together():
                distributed.all_reduce(value, group=self._over)
        return value

    def sum_in_place(self, values: Sequence[Tensor], group: distributed.ProcessGroup | None = None) -> None:
        """All-reduce the contiguous tensors in place, over all ranks or a group, with overlapping operations."""
        if self.size == 1:
            return
        with _together():
            started = [distributed.all_reduce(value, group=group or self._over, async_op=True) for value in values]
            for work in started:
                if work is not None:
                    work.wait()

    def max(self, value: float) -> float:
        """The maximum over all ranks."""
        if self.size == 1:
            return value
        found = torch.tensor(value, dtype=torch.float64)
        with _together():
            distributed.all_reduce(found, distributed.ReduceOp.MAX, group=self._over)
        return float(found)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; the same result on all."""
        return flag if self.size == 1 else self.max(float(flag)) > 0

    def from_main(self, compute: Callable[[], T]) -> T:
        """Broadcast the result of `compute`, which is called only on rank 0."""
        if self.size == 1:
            return compute()
        data = to_bytes(compute()) if self.main else b""
        length = self.sum(torch.tensor(len(data)))
        buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(int(length)).byte()
        with _together():
            distributed.broadcast(buffer, 0, group=self._over)
        return from_bytes(buffer.numpy().tobytes())

    def gathered(self, value: T) -> list[T]:
        """All-gather: the values of all ranks, in order."""
        if self.size == 1:
            return [value]
        data = torch.frombuffer(bytearray(to_bytes(value)), dtype=torch.uint8)
        lengths = self._placed(torch.tensor(float(len(data)), dtype=torch.float64)).long().tolist()
        padded = torch.nn.functional.pad(data, (0, max(lengths) - len(data)))
        found = [torch.empty_like(padded) for _ in range(self.size)]
        with _together():
            distributed.all_gather(found, padded, group=self._over)
        return [from_bytes(one[:n].numpy().tobytes()) for one, n in zip(found, lengths, strict=True)]

    def shared(self, items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
        """`work(items)`, one result per item, with the items sharded over the ranks and the results gathered on all."""
        if self.size == 1:
            return list(work(items))
        part = self.shard(len(items))
        own = list(work(items[part.start : part.stop])) if part else []
        return [result for results in self.gathered(own) for result in results]

    def joined(self, values: Tensor | None, rows: Sequence[int], count: int) -> Tensor | None:
        """[count, ...], with each rank's `values` [len(rows), ...] at its `rows`. None if no rank has any."""
        if self.size == 1:
            return values
        shapes = self.gathered(None if values is None else (list(values.shape[1:]), str(values.dtype)))
        known = next((shape for shape in shapes if shape is not None), None)
        if known is None:
            return None
        dtype: torch.dtype = getattr(torch, known[1].removeprefix("torch."))
        whole = torch.zeros((count, *known[0]), dtype=torch.uint8 if dtype is torch.bool else dtype)
        if values is not None:
            whole[list(rows)] = values.detach().cpu().to(whole.dtype)
        return self.sum(whole).to(dtype)

    @property
    def _over(self) -> distributed.ProcessGroup | None:
        """The process group. A separate group may only be used by its own thread, or messages would be mixed up."""
        assert self.group is None or _OF_THREAD.world == self, "a group apart is used by the thread that entered it"
        return self.group

    def _placed(self, value: Tensor) -> Tensor:
        """[size, ...] with this rank's value at its index."""
        whole = value.new_zeros((self.size, *value.shape))
        whole[self.rank] = value
        return self.sum(whole)


@contextmanager
def _together() -> Iterator[None]:
    """A context for collectives. The backends report a lost peer as a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        raise PeerLostError(
            "another process of this run has ended or does not answer; what is checkpointed is whole, and resume=true "
            "goes on from it"
        ) from error


class _Thread(threading.local):
    """The world of a thread."""

    world: World | None = None


_OF_THREAD = _Thread()
