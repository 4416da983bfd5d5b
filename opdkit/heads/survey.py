"""One pass over a model's vocabulary, without gradient: its top K ids, its normaliser, its entropy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads.head import Head, accumulate_type
from opdkit.heads.tiles import plan


@dataclass(frozen=True, eq=False)
class Survey:
    """What one streamed pass found at N positions; None is what was not asked for.

    ids i64[N, k] by descending logit, ties by ascending id; logits f32[N, k], divided by the temperature;
    logsumexp f32[N] of all logits; entropy f32[N] in nats.
    """

    ids: Tensor | None
    logits: Tensor | None
    logsumexp: Tensor | None
    entropy: Tensor | None


@torch.no_grad()
def survey(
    hidden: Tensor, head: Head, k: int, temperature: float = 1.0, *, normaliser: bool = True, entropy: bool = False
) -> Survey:
    """Walk the vocabulary once: top k (0: none), and logsumexp and entropy where asked for.

    hidden [N, D]. Raises ValueError where k exceeds the vocabulary. Entropy brings the normaliser with it.
    """
    if not 0 <= k <= head.vocabulary:
        raise ValueError(f"k is {k}, it must be between 0 and the vocabulary's {head.vocabulary}")
    shape, walk = head.shape(temperature), plan(hidden, head.weight, head.bias, head.vocabulary)
    hidden_p = hidden.to(walk.product)
    count, dtype = hidden.shape[0], accumulate_type(hidden, head.weight)
    leaders = _Leaders(count, k, hidden, dtype)
    mass = _Mass(count, hidden, dtype, entropy)
    for tile in walk.tiles():
        for rows in walk.rows:
            logits = tile.logits(hidden_p[rows], shape)
            if k:
                leaders.update(rows, logits, tile.start)
            if normaliser or entropy:
                mass.update(rows, logits)
    wanted = normaliser or entropy
    return Survey(
        leaders.ids if k else None,
        leaders.logits if k else None,
        mass.logsumexp() if wanted else None,
        mass.entropy() if entropy else None,
    )


class _Leaders:
    """The k highest logits so far of each row, in order."""

    def __init__(self, count: int, k: int, like: Tensor, dtype: torch.dtype) -> None:
        self.k = k
        self.ids = torch.zeros(count, k, dtype=torch.int64, device=like.device)
        self.logits = torch.full((count, k), -torch.inf, dtype=dtype, device=like.device)

    def update(self, rows: slice, logits: Tensor, start: int) -> None:
        joined = torch.cat([self.logits[rows], logits], 1)
        ids = torch.arange(start, start + logits.shape[1], device=logits.device).expand(logits.shape)
        order = joined.sort(dim=1, descending=True, stable=True).indices[:, : self.k]
        self.logits[rows] = joined.gather(1, order)
        self.ids[rows] = torch.cat([self.ids[rows], ids], 1).gather(1, order)


class _Mass:
    """Running sums of exp(z - peak) and of (z - peak) exp(z - peak) of each row."""

    def __init__(self, count: int, like: Tensor, dtype: torch.dtype, entropy: bool) -> None:
        self.peak = torch.full((count,), -torch.inf, dtype=dtype, device=like.device)
        self.total = torch.zeros(count, dtype=dtype, device=like.device)
        self.moment = torch.zeros(count, dtype=dtype, device=like.device) if entropy else None

    def update(self, rows: slice, logits: Tensor) -> None:
        """Add a block of logits, which is overwritten."""
        higher = torch.maximum(self.peak[rows], logits.amax(1))
        # The first block finds peak = -inf and total = 0: no shift is needed, and -inf - x must not reach a product.
        fall = torch.where(self.peak[rows] == -torch.inf, 0.0, self.peak[rows] - higher)
        decay = fall.exp()
        if self.moment is None:
            self.total[rows] = self.total[rows] * decay + logits.sub_(higher.unsqueeze(1)).exp_().sum(1)
        else:
            shifted = logits.sub_(higher.unsqueeze(1))
            weights = shifted.exp()
            self.moment[rows] = (self.moment[rows] + fall * self.total[rows]) * decay + (
                weights * shifted
            ).sum(1)
            self.total[rows] = self.total[rows] * decay + weights.sum(1)
        self.peak[rows] = higher

    def logsumexp(self) -> Tensor:
        return self.peak + self.total.log()

    def entropy(self) -> Tensor:
        assert self.moment is not None
        return (self.total.log() - self.moment / self.total).clamp_min_(0.0)
