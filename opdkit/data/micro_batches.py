"""How the rows of a batch are divided into passes through a model."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.data.rollout import Rollout


@dataclass(frozen=True)
class MicroBatch:
    """The size of one pass. It changes no result beyond rounding.

    Attributes:
        rows: at most.
        tokens: at most, prompts and padding included. A row that is longer by itself is a pass of its own. None for
            no limit.
        packed: whether rows stand one behind another, so that padding does not count.
    """

    rows: int
    tokens: int | None = None
    packed: bool = False

    def cuts(self, rollout: Rollout) -> list[tuple[int, int]]:
        """Rows [start, stop) of each pass over `rollout`, in order."""
        count = len(rollout.tokens)
        if self.tokens is None:
            return [(start, min(start + self.rows, count)) for start in range(0, count, self.rows)]
        read = rollout.prompts.attention_mask.sum(dim=1) + rollout.attention_mask.sum(dim=1)
        lengths = [int(length) for length in read]
        cuts: list[tuple[int, int]] = []
        start = 0
        for row in range(count):
            passed = lengths[start : row + 1]
            size = sum(passed) if self.packed else len(passed) * max(passed)
            if row > start and (row - start == self.rows or size > self.tokens):
                cuts.append((start, row))
                start = row
        return [*cuts, (start, count)] if count else []
