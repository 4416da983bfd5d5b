"""Diagnoses failure mode 3: the two models tokenize the same text differently."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opdkit.data.table import Table
from opdkit.diagnostics.observation import Finding, Floats, Observation, cell, mean
from opdkit.errors import UserError

_COLUMNS = ("id", "text", "count", "gap_sum", "gap_mean", "gap_min", "student_log_prob", "teacher_log_prob")


@dataclass(frozen=True)
class Mismatch:
    """The token ids that contribute most to the gap log q - log pi, and the gap at stop tokens (method D3).

    Cost: one sort of N numbers and decoding of `top` ids per table, no model evaluation. Masked tokens are not scored
    and do not appear. Tables: `ids_by_sum` (largest sum |gap| first) and `ids_by_minimum` (lowest single gap first),
    with `top` rows each; `stop_ids`, with one row per stop token. gap_sum is signed; the two log-probs are those at the
    id's lowest gap. Scalars: `gap_min`; `top_id_weight`, the share of sum |gap| in the first row of `ids_by_sum`;
    `stop_gap_mean` and `stop_gap_min`, on sampled stop tokens.
    """

    top: int = 20

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"diagnostics.mismatch.top={self.top} must be at least 1")

    def __call__(self, seen: Observation) -> Finding:
        groups = _Groups.of(seen)
        if groups is None:
            return Finding()
        by_sum = np.argsort(-groups.size, kind="stable")
        by_minimum = np.argsort(groups.lowest, kind="stable")
        stops = np.flatnonzero(np.isin(groups.ids, sorted(seen.stop_ids)))
        stop_gaps = seen.gap[seen.scored & np.isin(seen.tokens, sorted(seen.stop_ids))]
        total = float(groups.size.sum())
        scalars = {
            "gap_min": float(groups.lowest.min()),
            "top_id_weight": float(groups.size.max()) / total if total > 0 else float("nan"),
            "stop_gap_mean": mean(stop_gaps),
            "stop_gap_min": float(stop_gaps.min()) if stop_gaps.size else float("nan"),
        }
        tables = (
            groups.table("ids_by_sum", by_sum[: self.top], seen),
            groups.table("ids_by_minimum", by_minimum[: self.top], seen),
            groups.table("stop_ids", stops, seen),
        )
        return Finding(scalars, tables)


@dataclass(frozen=True)
class _Groups:
    """The scored tokens grouped by id: count, sum of gap, sum of |gap|, lowest gap and its log-probs; [G] each."""

    ids: NDArray[np.int64]
    count: NDArray[np.int64]
    total: Floats
    size: Floats
    lowest: Floats
    student: Floats
    teacher: Floats

    @classmethod
    def of(cls, seen: Observation) -> _Groups | None:
        tokens, gap = seen.tokens[seen.scored], seen.gap[seen.scored]
        if tokens.size == 0:
            return None
        order = np.lexsort((gap, tokens))
        tokens, gap = tokens[order], gap[order]
        ids, first, count = np.unique(tokens, return_index=True, return_counts=True)
        at_lowest = order[first]
        return cls(
            ids,
            count,
            np.add.reduceat(gap, first),
            np.add.reduceat(np.abs(gap), first),
            gap[first],
            seen.student_log_prob[seen.scored][at_lowest],
            seen.teacher_log_prob[seen.scored][at_lowest],
        )

    def table(self, name: str, chosen: NDArray[np.intp], seen: Observation) -> Table:
        texts = seen.texts(self.ids[chosen].tolist())
        rows = tuple(
            (
                int(self.ids[i]),
                text,
                int(self.count[i]),
                cell(float(self.total[i])),
                cell(float(self.total[i] / self.count[i])),
                cell(float(self.lowest[i])),
                cell(float(self.student[i])),
                cell(float(self.teacher[i])),
            )
            for i, text in zip(chosen.tolist(), texts, strict=True)
        )
        return Table(name, _COLUMNS, rows)
