"""Unions and intersections of per-position id sets, stored as padded rows with a mask."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def join_supports(parts: Sequence[Tensor], masks: Sequence[Tensor | None] | None = None) -> tuple[Tensor, Tensor]:
    """The union of several supports at each position, without duplicates.

    parts: i64[..., K_i]; masks: bool[..., K_i], False on filler ids, or None if there are none.
    Returns ids i64[..., K] and mask bool[..., K], K = sum K_i. An id stays at its first occurrence, so the
    order of the first part is kept. Later copies become filler: masked, and replaced by the row's first id,
    which is valid in any vocabulary.
    """
    ids = torch.cat(list(parts), -1)
    given = [None] * len(parts) if masks is None else list(masks)
    mask = torch.cat(
        [torch.ones_like(p, dtype=torch.bool) if m is None else m for p, m in zip(parts, given, strict=True)], -1
    )
    # A stable sort groups copies of an id, earliest first, and moves filler to the end.
    keys = torch.where(mask, ids, torch.iinfo(torch.int64).max)
    ordered, order = keys.sort(dim=-1, stable=True)
    repeated = torch.zeros_like(mask)
    repeated[..., 1:] = ordered[..., 1:] == ordered[..., :-1]
    first = torch.zeros_like(mask).scatter(-1, order, ~repeated) & mask
    return torch.where(first, ids, ids[..., :1]), first


def intersect_supports(kept: Tensor, other: Tensor, other_mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ids of `kept` that are also in `other`, at each position.

    kept i64[..., K]; other i64[..., L] with other_mask bool[..., L], False on filler ids, or None if there are none.
    Returns `kept` and mask bool[..., K], all False at a position where the two share no id.
    """
    same = kept.unsqueeze(-1) == other.unsqueeze(-2)
    if other_mask is not None:
        same = same & other_mask.unsqueeze(-2)
    return kept, same.any(-1)
