"""Top-k ids, logsumexp and entropy in one pass over the vocabulary, without gradient."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.heads.head import Head, accumulate_type, uncompiled
from opdkit.heads.online_logsumexp import OnlineLogSumExp
from opdkit.heads.running_top_k import RunningTopK, top_k_of_rows
from opdkit.heads.tiles import plan, plan_rows, ranks_rows


@dataclass(frozen=True, eq=False)
class VocabularyStats:
    """The result of one streamed pass at N positions; None for what was not requested.

    ids i64[N, k] by descending logit, ties by ascending id; logits f32[N, k], divided by the temperature;
    logsumexp f32[N] of all logits; entropy f32[N] in nats.
    """

    ids: Tensor | None
    logits: Tensor | None
    logsumexp: Tensor | None
    entropy: Tensor | None


@uncompiled
@torch.no_grad()
def vocabulary_stats(
    hidden: Tensor, head: Head, k: int, temperature: float = 1.0, *, normaliser: bool = True, entropy: bool = False
) -> VocabularyStats:
    """Compute the top k (0: none), and logsumexp and entropy if requested, in one pass over the vocabulary.

    hidden [N, D]. Raises ValueError if k exceeds the vocabulary. Entropy implies the normaliser.
    Half-precision products are accumulated in float32, as in `support_logits`, so that a teacher and a student with
    equal weights agree.
    """
    if not 0 <= k <= head.vocabulary:
        raise ValueError(f"k is {k}, it must be between 0 and the vocabulary's {head.vocabulary}")
    by_rows = k > 0 and ranks_rows(hidden.device, head.vocabulary)
    walk = (plan_rows if by_rows else plan)(hidden, head, temperature)
    dtype = accumulate_type(hidden, head.weight)
    found: list[tuple[Tensor, Tensor]] = []
    leaders = [RunningTopK(rows.stop - rows.start, k, hidden.device, dtype) for rows in walk.rows if k and not by_rows]
    masses = [OnlineLogSumExp(rows.stop - rows.start, hidden.device, dtype, entropy) for rows in walk.rows]
    for tile in walk.tiles():
        for index, rows in enumerate(walk.rows):
            logits = tile.logits(rows)
            if by_rows:
                found.append(top_k_of_rows(logits, k))
            elif k:
                leaders[index].update(logits, tile.start)
            if normaliser or entropy:
                masses[index].absorb(logits)
    ids, logits = None, None
    if k:
        found += [leader.result() for leader in leaders]
        ids, logits = (torch.cat(column) for column in zip(*found, strict=True))
    return VocabularyStats(
        ids,
        logits,
        torch.cat([mass.logsumexp() for mass in masses]) if normaliser or entropy else None,
        torch.cat([mass.entropy() for mass in masses]) if entropy else None,
    )
