"""The teacher by position, on repetition and behind the answer."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from opdkit.diagnostics import Reliability
from opdkit.diagnostics.reliability import bucket_limits
from opdkit.errors import UserError
from tests.diagnostics.observed import observed

PIECES = ["x ", "\\boxed{", "4}", " done", " more", "<stop>"]


def test_limits_are_the_same_for_every_length() -> None:
    limits = bucket_limits(10_000)
    assert limits[:14] == [0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80]
    assert limits[-1] >= 10_000 > limits[-2]
    assert all(bucket_limits(n) == limits[: len(bucket_limits(n))] for n in range(1, 300))
    assert 1024 in limits
    assert limits[limits.index(1024) + 1] == 1280


def test_gap_by_position() -> None:
    student = [[0.5] * 6, [0.5] * 3]
    teacher = [[0.25, 0.25, 0.25, 0.25, 0.5, 0.125], [0.5, 0.5, 1.0]]
    (table,) = Reliability()(observed([[0, 1, 2, 3, 4, 5], [6, 7, 25]], student, teacher)).tables
    first, second = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    early = np.log([0.5, 0.5, 0.5, 0.5, 1, 1, 2])
    late = np.log([1, 0.25])
    for row, gap, start in ((first, early, 0), (second, late, 4)):
        assert (row["start"], row["stop"], row["tokens"]) == (start, start + 4, len(gap))
        assert row["gap_mean"] == pytest.approx(gap.mean(), rel=1e-4)
        assert row["gap_std"] == pytest.approx(gap.std(), rel=1e-4)
        assert row["gap_p1"] == pytest.approx(np.quantile(gap, 0.01), rel=1e-4)
        assert row["gap_p5"] == pytest.approx(np.quantile(gap, 0.05), rel=1e-4)
        assert (row["teacher_entropy"], row["student_entropy"]) == (0.25, 0.5)


def test_repetition_truncation_and_what_was_not_scored() -> None:
    rows, student = [[0, 1, 0, 1], [2, 3]], [[0.5] * 4, [0.5] * 2]
    teacher = [[0.1, 0.2, 0.3, 0.9], [0.5, 0.5]]
    scored = np.array([[True, True, True, True], [True, False, False, False]])
    found = Reliability(ngram=2)(observed(rows, student, teacher, [False, True], scored=scored)).scalars
    assert found["repetition_rate"] == pytest.approx(1 / 6)
    assert found["teacher_probability_repeated"] == pytest.approx(0.9)
    assert found["teacher_probability_new"] == pytest.approx(np.mean([0.1, 0.2, 0.3, 0.5]))
    assert found["gap_truncated"] == pytest.approx(np.log(np.array(teacher[0]) / 0.5).mean())
    assert found["gap_stopped"] == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("ids", "stopped", "after"),
    [
        ([0, 1, 2, 3, 4, 5], True, 2),  # the stop token does not count
        ([0, 1, 2, 5], True, 0),
        ([0, 1, 2, 3, 4], False, 2),
        ([0, 1, 2, 3, 1, 2], False, 3),  # the first answer is what counts
        ([0, 3], False, None),
    ],
)
def test_tokens_after_the_answer(ids: list[int], stopped: bool, after: int | None) -> None:
    even = [[0.5] * len(ids)]
    found = Reliability()(observed([ids], even, even, [stopped], texts=lambda ids: [PIECES[i] for i in ids])).scalars
    assert found["answered_fraction"] == (after is not None)
    assert math.isnan(found["tokens_after_answer"]) if after is None else found["tokens_after_answer"] == after


def test_an_ngram_of_nothing_is_refused() -> None:
    with pytest.raises(UserError, match=r"diagnostics\.reliability\.ngram=0"):
        Reliability(ngram=0)


def test_what_an_environment_wrote_is_no_repetition() -> None:
    seen = observed([[0, 1, 2, 3, 0, 1]], [[0.5] * 6], [[0.5] * 6], [False])
    assert Reliability(ngram=2)(seen).scalars["repetition_rate"] == pytest.approx(1 / 6)
    mask = seen.rollout.sampled_mask.clone()
    mask[0, :2] = False
    between = replace(seen, rollout=replace(seen.rollout, sampled_mask=mask, environment_mask=~mask))
    assert Reliability(ngram=2)(between).scalars["repetition_rate"] == 0
