"""The part of a step's rows that one process trains on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from opdkit.data.rollout import Rollout
from opdkit.data.rows import rollout_at
from opdkit.world.world import World


@dataclass(frozen=True)
class Share:
    """Which rows of a step a process has, of every mini-batch its part, so that each update sees the rows it would
    have in one process.

    Attributes:
        rows: their numbers among the step's, in order.
        cuts: of each mini-batch, [start, stop) among `rows`.
        count: rows of the step.
        present: of each mini-batch, whether any process has rows of it.
        world: the processes that share the step.
    """

    rows: tuple[int, ...]
    cuts: tuple[tuple[int, int], ...]
    count: int
    present: tuple[bool, ...]
    world: World

    @classmethod
    def of(cls, sizes: Sequence[int], mini_batches: int, world: World) -> Share:
        """The share of this process. sizes: the rows of each rollout."""
        rows: list[int] = []
        cuts: list[tuple[int, int]] = []
        whole = cut_rollouts(sizes, mini_batches)
        for start, stop in whole:
            part = world.shard(stop - start)
            cuts.append((len(rows), len(rows) + len(part)))
            rows += range(start + part.start, start + part.stop)
        return cls(tuple(rows), tuple(cuts), sum(sizes), tuple(start < stop for start, stop in whole), world)

    @property
    def whole(self) -> bool:
        """Whether it is the whole step."""
        return len(self.rows) == self.count

    def own(self, values: Tensor) -> Tensor:
        """The rows of [B, ...] values that are this process's."""
        return values if self.whole else values[list(self.rows)]

    def own_rollout(self, rollout: Rollout) -> Rollout:
        """The rows of a rollout that are this process's, as wide as before."""
        return rollout if self.whole else rollout_at(rollout, self.rows)

    def joined(self, values: Tensor | None, like: Tensor) -> Tensor | None:
        """[B, ...] of the whole step, on the device of `like`, from every process's values of its own rows.

        Called by all processes; one without rows has None. None where all have.
        """
        if self.world.size == 1:
            return values
        whole = self.world.joined(values, self.rows, self.count)
        return None if whole is None else whole.to(like.device)


def cut_rollouts(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Rows [start, stop) of each of `count` mini-batches: whole rollouts, in order, nearly equally many in each.

    sizes: the rows of each rollout. With one row a rollout and a count that divides them, all are alike.
    """
    ends = [0, *itertools.accumulate(sizes)]
    cuts = [ends[len(sizes) * part // count] for part in range(count + 1)]
    return list(itertools.pairwise(cuts))
