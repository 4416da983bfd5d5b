"""Diagnoses failure mode 1: few tokens carry the supervision, and most of their advantages are negative."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from opdkit.data.table import Table
from opdkit.diagnostics.observation import Finding, Floats, Observation, cell, mean

_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_HALF_DECADES = tuple(10.0 ** (power / 2) for power in range(-6, 5))
_EDGES = (*(-edge for edge in reversed(_HALF_DECADES)), 0.0, *_HALF_DECADES)


@dataclass(frozen=True)
class Imbalance:
    """The distribution of the advantages A_t = log q - log pi of the scored tokens (method D1).

    Cost: one sort of N numbers, no model evaluation. Scalars: `positive_share`, the share of tokens with A > 0;
    `positive_weight`, their share of sum |A|; `advantage_p1`, `_p50`, `_p99`; `probability_correlation`, Pearson's
    of q(y_t) and pi(y_t). Tables: `advantage_quantiles`; `advantage_histogram`, bins half a decade wide on both sides
    of 0 with each bin's part of sum |A|, the outermost open (|A| above 100 nats or below .001).
    """

    def __call__(self, seen: Observation) -> Finding:
        advantage = seen.gap[seen.scored]
        if advantage.size == 0:
            return Finding()
        size = np.abs(advantage)
        total = float(size.sum())
        points = dict(zip(_QUANTILES, np.quantile(advantage, _QUANTILES).tolist(), strict=True))
        scalars = {
            "positive_share": mean(advantage > 0),
            "positive_weight": float(size[advantage > 0].sum()) / total if total > 0 else float("nan"),
            "advantage_p1": points[0.01],
            "advantage_p50": points[0.5],
            "advantage_p99": points[0.99],
            "probability_correlation": _pearson(
                np.exp(seen.student_log_prob[seen.scored]), np.exp(seen.teacher_log_prob[seen.scored])
            ),
        }
        rows = tuple((quantile, cell(value)) for quantile, value in points.items())
        return Finding(scalars, (Table("advantage_quantiles", ("quantile", "advantage"), rows), _histogram(advantage)))


def _histogram(advantage: Floats) -> Table:
    bins: NDArray[np.int64] = np.clip(np.searchsorted(_EDGES, advantage, side="right") - 1, 0, len(_EDGES) - 2)
    counts = np.bincount(bins, minlength=len(_EDGES) - 1).tolist()
    sums = np.bincount(bins, weights=np.abs(advantage), minlength=len(_EDGES) - 1).tolist()
    total = sum(sums) or 1.0
    rows = tuple(
        (cell(low), cell(high), count, cell(part / total))
        for (low, high), count, part in zip(pairwise(_EDGES), counts, sums, strict=True)
    )
    return Table("advantage_histogram", ("low", "high", "tokens", "weight"), rows, histogram=True)


def _pearson(one: Floats, other: Floats) -> float:
    """Pearson correlation; nan if either is constant."""
    one, other = one - one.mean(), other - other.mean()
    norm = float(np.sqrt((one * one).sum() * (other * other).sum()))
    return float((one * other).sum()) / norm if norm > 0 else float("nan")
