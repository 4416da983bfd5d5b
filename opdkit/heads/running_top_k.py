"""Finds the k highest logits of each row in tiles that are seen once, in ascending ids."""

from __future__ import annotations

import torch
from torch import Tensor

# Logits summarised by one maximum. Most blocks of most tiles hold nothing that could lead, and are never looked into.
_BLOCK = 64


class RunningTopK:
    """The k best of what was shown so far: descending logit, ties by ascending id.

    `update` lets pass only what beats the k-th best as it was at the last merge, so a merge (the only sort)
    happens about once each time the number of ids seen has doubled.
    """

    def __init__(self, rows: int, k: int, device: torch.device, dtype: torch.dtype) -> None:
        self._k = k
        self._logits = [torch.full((rows, k), -torch.inf, dtype=dtype, device=device)]
        self._ids = [torch.zeros(rows, k, dtype=torch.int64, device=device)]
        self._bar: Tensor | None = None
        self._waiting = 0

    def update(self, logits: Tensor, start: int) -> None:
        """Show the logits [rows, W] of ids start .. start + W."""
        blocks = _blocks(logits)
        peaks = blocks.amax(-1)
        # Against the leaders an equal logit loses, its id being the higher one; before there are any, it may stay.
        bar, passes = (self._first_bar(blocks, peaks), torch.ge) if self._bar is None else (self._bar, torch.gt)
        row, block = passes(peaks, bar).nonzero(as_tuple=True)
        if row.numel():
            candidates = blocks[row, block]
            which, column = passes(candidates, bar[row]).nonzero(as_tuple=True)
            ids = start + block[which] * _BLOCK + column
            self._keep(candidates[which, column], ids, row[which])
        if self._bar is None or self._waiting >= 2 * self._k:
            self._merge()

    def result(self) -> tuple[Tensor, Tensor]:
        """ids i64[rows, k] and logits [rows, k]."""
        if self._waiting:
            self._merge()
        return self._ids[0], self._logits[0]

    def _first_bar(self, blocks: Tensor, peaks: Tensor) -> Tensor:
        """What k logits of this tile reach: its k-th best block maximum, or k-th best logit if it has few blocks."""
        of = peaks if peaks.shape[1] >= self._k else blocks.flatten(1)
        return of.topk(min(self._k, of.shape[1])).values[:, -1:]

    def _keep(self, logits: Tensor, ids: Tensor, row: Tensor) -> None:
        """Put candidates [M], ordered by row and then by id, into columns."""
        rows = self._ids[0].shape[0]
        count = torch.bincount(row, minlength=rows)
        width = int(count.max())
        place = torch.arange(row.numel(), device=row.device) - (count.cumsum(0) - count)[row]
        columns = logits.new_full((rows, width), -torch.inf)
        columns[row, place] = logits
        names = ids.new_zeros(rows, width)
        names[row, place] = ids
        self._logits.append(columns)
        self._ids.append(names)
        self._waiting += width

    def _merge(self) -> None:
        logits, ids = torch.cat(self._logits, 1), torch.cat(self._ids, 1)
        # Columns are in ascending ids among equals, so a stable sort breaks ties by id.
        ordered, order = logits.sort(dim=1, descending=True, stable=True)
        self._logits, self._ids = [ordered[:, : self._k].contiguous()], [ids.gather(1, order[:, : self._k])]
        self._waiting = 0
        self._bar = self._logits[0][:, -1:]


def _blocks(logits: Tensor) -> Tensor:
    """[rows, W] as [rows, blocks, _BLOCK], the last one filled up with -inf."""
    short = -logits.shape[1] % _BLOCK
    if short:
        logits = torch.nn.functional.pad(logits, (0, short), value=-torch.inf)
    return logits.view(logits.shape[0], logits.shape[1] // _BLOCK, _BLOCK)
