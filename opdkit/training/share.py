"""The shard of a step's rows that one rank trains on."""

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
    """A rank's rows of a step. Every mini-batch is split over the ranks, so that each update uses the same rows as with
    a single process.

    Attributes:
        rows: the rank's row indices within the step, in order.
        cuts: per mini-batch, [start, stop) in `rows`.
        count: the number of rows in the step.
        present: per mini-batch, whether any rank has rows of it.
        world: the ranks that share the step.
    """

    rows: tuple[int, ...]
    cuts: tuple[tuple[int, int], ...]
    count: int
    present: tuple[bool, ...]
    world: World

    @classmethod
    def of(cls, sizes: Sequence[int], mini_batches: int, world: World) -> Share:
        """The share of this rank. sizes: the number of rows of each rollout."""
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
        """Whether this rank has all rows of the step."""
        return len(self.rows) == self.count

    def own(self, values: Tensor) -> Tensor:
        """This rank's rows of values [B, ...]."""
        return values if self.whole else values[list(self.rows)]

    def own_rollout(self, rollout: Rollout) -> Rollout:
        """This rank's rows of a rollout, at the same width."""
        return rollout if self.whole else rollout_at(rollout, self.rows)

    def joined(self, values: Tensor | None, like: Tensor) -> Tensor | None:
        """Gather values [B, ...] of the whole step, on the device of `like`, from every rank's values of its own rows.

        Collective; a rank without rows passes None. Returns None if all do.
        """
        if self.world.size == 1:
            return values
        whole = self.world.joined(values, self.rows, self.count)
        return None if whole is None else whole.to(like.device)


def cut_rollouts(sizes: Sequence[int], count: int) -> list[tuple[int, int]]:
    """Rows [start, stop) of each of `count` mini-batches: whole rollouts in order, in nearly equal numbers.

    sizes: the number of rows of each rollout.
    """
    ends = [0, *itertools.accumulate(sizes)]
    cuts = [ends[len(sizes) * part // count] for part in range(count + 1)]
    return list(itertools.pairwise(cuts))
