"""Joins and intersects sets of ids per position, held as padded rows with a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def join_supports(parts: Sequence[Tensor], masks: Sequence[Tensor | None] | None = None) -> tuple[Tensor, Tensor]:
    """The union of several supports at each position, each id once.

    parts: i64[..., K_i]; masks: bool[..., K_i], False on filler ids, or None where all count.
    Returns ids i64[..., K] and mask bool[..., K], K = sum K_i. An id stays where it first occurs, so the
    order of the first part is kept; a later copy is filler: masked, and replaced by the row's first id,
    which is an id that can be scored whatever the vocabulary.
    """
    ids = torch.cat(list(parts), -1)
    given = [None] * len(parts) if masks is None else list(masks)
    mask = torch.cat(
        [torch.ones_like(p, dtype=torch.bool) if m is None else m for p, m in zip(parts, given, strict=True)], -1
    )
    # A stable sort brings copies of an id together, fillers behind the ids that count, the earliest first.
    keys = torch.where(mask, ids, torch.iinfo(torch.int64).max)
    ordered, order = keys.sort(dim=-1, stable=True)
    repeated = torch.zeros_like(mask)
    repeated[..., 1:] = ordered[..., 1:] == ordered[..., :-1]
    first = torch.zeros_like(mask).scatter(-1, order, ~repeated) & mask
    return torch.where(first, ids, ids[..., :1]), first


def intersect_supports(kept: Tensor, other: Tensor, other_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ids of `kept` that `other` holds too, at each position.

    kept i64[..., K]; other i64[..., L] with other_mask bool[..., L], False on fillers, or None where all count.
    Returns `kept` and mask bool[..., K]; a position where the two share no id has no True.
    """
    same = kept.unsqueeze(-1) == other.unsqueeze(-2)
    if other_mask is not None:
        same = same & other_mask.unsqueeze(-2)
    return kept, same.any(-1)
