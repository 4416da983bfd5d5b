"""The largest logits of each row, with ties broken by id."""

from __future__ import annotations

import torch
from torch import Tensor

# Most distributions reach their top-p mass within this many ids; only the other rows are fully sorted.
_HEAD = 512
# Tolerance for rounding in a sum of float64 probabilities: probabilities .6, .2, .1, .1 must give two ids at p = .8.
# Far below any difference that two float32 logits can make.
_ROUNDING = 1e-12


def keep_largest(logits: Tensor, count: Tensor) -> Tensor:
    """bool[B, V], True on the `count` i64[B] largest logits of each row; ties go to the lowest ids.

    1 <= count <= V. Ids with a logit of -inf are never kept.
    """
    most = int(count.max())
    threshold = logits.topk(most, dim=-1).values.gather(-1, count[:, None] - 1)
    kept = logits >= threshold
    surplus = kept.sum(dim=-1) > count
    if bool(surplus.any()):
        above, level = logits[surplus] > threshold[surplus], logits[surplus] == threshold[surplus]
        room = count[surplus] - above.sum(dim=-1)
        kept[surplus] = above | (level & (level.cumsum(dim=-1) <= room[:, None]))
    return kept & (logits > -torch.inf)


def count_to_mass(logits: Tensor, p: float) -> Tensor:
    """i64[B], the number of largest logits f[B, V] whose softmax mass reaches `p` < 1."""
    peak = logits.max(dim=-1, keepdim=True).values
    total = (logits - peak).double().exp().sum(dim=-1, keepdim=True)
    head = min(_HEAD, logits.shape[-1])
    count, reached = _count(logits.topk(head, dim=-1).values - peak, total, p)
    if not bool(reached.all()):
        rest = ~reached
        ordered = logits[rest].sort(dim=-1, descending=True).values
        count[rest] = _count(ordered - peak[rest], total[rest], p)[0]
    return count


def _count(ordered: Tensor, total: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """How many of the descending probabilities `ordered` f[B, n] are needed to reach p, and whether they reach it."""
    mass = ordered.double().exp().cumsum(dim=-1) / total
    short = (mass < p - _ROUNDING).sum(dim=-1)
    reached = short < ordered.shape[-1]
    return torch.clamp(short + 1, max=ordered.shape[-1]), reached
