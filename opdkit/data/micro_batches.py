"""The division of a batch's rows into micro-batches."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.data.rollout import Rollout


@dataclass(frozen=True)
class MicroBatch:
    """The size of a micro-batch. It changes results only by rounding.

    Attributes:
        rows: the maximum number of rows.
        tokens: the maximum number of tokens, prompts and padding included; a longer row gets its own micro-batch. None
            for no limit.
        packed: whether rows are packed into shared sequences, so that padding is not counted.
    """

    rows: int
    tokens: int | None = None
    packed: bool = False

    def cuts(self, rollout: Rollout) -> list[tuple[int, int]]:
        """Rows [start, stop) of each micro-batch of `rollout`, in order."""
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
