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
    """

    rows: int
    tokens: int | None = None

    def cuts(self, rollout: Rollout) -> list[tuple[int, int]]:
        """Rows [start, stop) of each pass over `rollout`, in order."""
        count = len(rollout.tokens)
        if self.tokens is None:
            return [(start, min(start + self.rows, count)) for start in range(0, count, self.rows)]
        read = rollout.prompts.attention_mask.sum(dim=1) + rollout.attention_mask.sum(dim=1)
        lengths = [int(length) for length in read]
        cuts: list[tuple[int, int]] = []
        start, longest = 0, 0
        for row, length in enumerate(lengths):
            wider = max(longest, length)
            if row > start and (row - start == self.rows or (row - start + 1) * wider > self.tokens):
                cuts.append((start, row))
                start, wider = row, length
            longest = wider
        return [*cuts, (start, count)] if count else []
