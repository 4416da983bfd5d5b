"""Defines the processes of a run, and what they add up together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class World:
    """`size` processes, of which this is number `rank`. With one process nothing is communicated."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The processes that torch.distributed knows of, one where it was not started."""
        if distributed.is_available() and distributed.is_initialized():
            return cls(distributed.get_rank(), distributed.get_world_size())
        return cls()

    @property
    def main(self) -> bool:
        """Whether this process writes, logs and shows progress."""
        return self.rank == 0

    def shard(self, count: int) -> range:
        """The part of `count` rows that is this process's, consecutive, sizes that differ by one at most."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def sum(self, value: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in some process: a decision that is one for all."""
        return flag if self.size == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)
