"""Diagnoses failure mode 2: the teacher scores prefixes that it would never generate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from opdkit.data.table import Table
from opdkit.diagnostics.observation import Finding, Floats, Observation, cell, mean
from opdkit.diagnostics.repetition import repeated
from opdkit.errors import UserError
from opdkit.grading.extraction import first_answer_end

_FIRST_BUCKETS = 4
_COLUMNS = ("start", "stop", "tokens", "gap_mean", "gap_std", "gap_p1", "gap_p5", "teacher_entropy", "student_entropy")


@dataclass(frozen=True)
class Reliability:
    """The gap log q - log pi and both entropies by position, repetition, and tokens after the answer (method D2).

    Cost: a sort of N numbers, `ngram` sorts and one scan of the text per response, no model evaluation.
    Scalars: `repetition_rate`, the share of sampled tokens that complete an n-gram already in the response;
    `teacher_probability_repeated` and `_new`, mean q(y_t) on those and on the others;
    `gap_truncated` and `gap_stopped`, mean gap of responses cut at the limit and of the others;
    `answered_fraction`, the share of responses with a final answer; `tokens_after_answer`, mean over those, without the
    stop token.
    Table `gap_by_position`: one row per bucket [start, stop) of the response position. The limits are the same in every
    step and run: 4 tokens wide at first, then four buckets per doubling.
    """

    ngram: int = 4

    def __post_init__(self) -> None:
        if self.ngram < 1:
            raise UserError(f"diagnostics.reliability.ngram={self.ngram} must be at least 1")

    def __call__(self, seen: Observation) -> Finding:
        again = np.zeros_like(seen.written)
        for row, written in enumerate(seen.written):
            again[row, written] = repeated(seen.tokens[row, written], self.ngram)
        probability = np.exp(seen.teacher_log_prob)
        cut = np.array([reason == "length" for reason in seen.rollout.stop_reason], dtype=bool)[:, None]
        counts = [_after_answer(seen, row) for row in range(len(again))]
        after = [count for count in counts if count is not None]
        scalars = {
            "repetition_rate": mean(again[seen.written]),
            "teacher_probability_repeated": mean(probability[seen.scored & again]),
            "teacher_probability_new": mean(probability[seen.scored & ~again]),
            "gap_truncated": mean(seen.gap[seen.scored & cut]),
            "gap_stopped": mean(seen.gap[seen.scored & ~cut]),
            "answered_fraction": len(after) / max(1, len(counts)),
            "tokens_after_answer": mean(np.array(after, dtype=np.float64)),
        }
        return Finding(scalars, (_by_position(seen),))


def bucket_limits(length: int) -> list[int]:
    """0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, ... up to the first limit that is at least `length`."""
    limits = [0]
    while limits[-1] < length:
        octave = max(limits[-1], 16).bit_length() - 1
        limits.append(limits[-1] + max(_FIRST_BUCKETS, 2**octave // 4))
    return limits


def _by_position(seen: Observation) -> Table:
    limits = bucket_limits(seen.written.shape[1])
    entropy = None if seen.rollout.entropy is None else seen.rollout.entropy.double().cpu().numpy()
    rows: list[tuple[object, ...]] = []
    for start, stop in pairwise(limits):
        scored = seen.scored[:, start:stop]
        gap = seen.gap[:, start:stop][scored]
        if gap.size == 0:
            continue
        low, lower = np.quantile(gap, (0.01, 0.05)).tolist()
        teacher = None if seen.teacher_entropy is None else _mean_of(seen.teacher_entropy[:, start:stop], scored)
        student = None if entropy is None else _mean_of(entropy[:, start:stop], scored)
        numbers = (cell(mean(gap)), cell(float(gap.std())), cell(low), cell(lower))
        rows.append((start, stop, int(gap.size), *numbers, teacher, student))
    return Table("gap_by_position", _COLUMNS, tuple(rows))


def _mean_of(values: Floats, scored: NDArray[np.bool_]) -> float:
    return cell(mean(values[scored]))


def _after_answer(seen: Observation, row: int) -> int | None:
    """The number of tokens after the end of the first final answer, without the stop token; None without an answer."""
    ids = seen.tokens[row, seen.written[row]].tolist()
    if seen.rollout.stop_reason[row] == "stop":
        ids.pop()
    texts = seen.texts(ids)
    end = first_answer_end("".join(texts))
    if end is None:
        return None
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    return int((starts >= end).sum())
