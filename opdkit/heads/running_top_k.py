"""Top-k of each row's logits: of whole rows, or online where they arrive tile by tile in ascending order of id."""

from __future__ import annotations

import torch
from torch import Tensor

# Logits per block maximum. Most blocks hold no candidate for the top k, and their logits are never inspected.
_BLOCK = 64


def top_k_of_rows(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """ids i64[rows, k] and logits [rows, k] of the k highest of logits [rows, V]: see `RunningTopK`."""
    best, ids = logits.topk(k, dim=1)
    # torch keeps any of the logits that tie for the last place.
    tied = (logits >= best[:, -1:]).sum(1) > k
    if bool(tied.any()):
        ordered, order = logits[tied].sort(dim=1, descending=True, stable=True)
        best[tied], ids[tied] = ordered[:, :k], order[:, :k]
    ids, order = ids.sort(dim=1)
    best, order = best.gather(1, order).sort(dim=1, descending=True, stable=True)
    return ids.gather(1, order), best


class RunningTopK:
    """The k highest logits seen so far: descending logit, ties by ascending id.

    `update` keeps only logits above the k-th best as of the last merge, so a merge (the only sort) happens about
    once each time the number of ids seen has doubled.
    """

    def __init__(self, rows: int, k: int, device: torch.device, dtype: torch.dtype) -> None:
        self._k = k
        self._logits = [torch.full((rows, k), -torch.inf, dtype=dtype, device=device)]
        self._ids = [torch.zeros(rows, k, dtype=torch.int64, device=device)]
        self._bar: Tensor | None = None
        self._waiting = 0

    def update(self, logits: Tensor, start: int) -> None:
        """Add the logits [rows, W] of ids start .. start + W."""
        blocks = _blocks(logits)
        peaks = blocks.amax(-1)
        # A tie with the current top k loses, since its id is higher; before the first merge, ties are kept.
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
        """A lower bound on the k-th best logit: the tile's k-th block maximum, or k-th logit if it has few blocks."""
        of = peaks if peaks.shape[1] >= self._k else blocks.flatten(1)
        return of.topk(min(self._k, of.shape[1])).values[:, -1:]

    def _keep(self, logits: Tensor, ids: Tensor, row: Tensor) -> None:
        """Scatter candidates [M], sorted by row and then by id, into columns."""
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
        # Equal logits are in ascending order of id, so a stable sort breaks ties by id.
        ordered, order = logits.sort(dim=1, descending=True, stable=True)
        self._logits, self._ids = [ordered[:, : self._k].contiguous()], [ids.gather(1, order[:, : self._k])]
        self._waiting = 0
        self._bar = self._logits[0][:, -1:]


def _blocks(logits: Tensor) -> Tensor:
    """Reshape [rows, W] to [rows, blocks, _BLOCK], padding the last block with -inf."""
    short = -logits.shape[1] % _BLOCK
    if short:
        logits = torch.nn.functional.pad(logits, (0, short), value=-torch.inf)
    return logits.view(logits.shape[0], logits.shape[1] // _BLOCK, _BLOCK)
