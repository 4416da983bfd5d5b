"""Token ids by gap. The paper's case, planted: `<` is likely to the student and all but impossible to the teacher."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opdkit.diagnostics import Finding, Mismatch
from opdkit.errors import UserError
from tests.diagnostics.observed import observed


def test_the_planted_id_leads_both_tables() -> None:
    rows = [[0, 1, 1, 1, 25], [0, 2, 3, 1, 25]]
    student = [[0.93, 0.5, 0.5, 0.5, 1.0], [0.9, 0.5, 0.5, 0.5, 1.0]]
    teacher = [[math.exp(-19.16), 0.4, 0.4, 0.4, 1e-3], [0.8, 0.9, 0.5, 0.5, 0.5]]
    found = Mismatch(top=2)(observed(rows, student, teacher))
    by_sum, by_minimum, stops = found.tables
    assert [row[1] for row in by_sum.rows] == ["a", "z"]
    assert [row[1] for row in by_minimum.rows] == ["a", "z"]
    first = dict(zip(by_minimum.columns, by_minimum.rows[0], strict=True))
    gaps = [-19.16 - math.log(0.93), math.log(0.8 / 0.9)]
    assert first["count"] == 2
    assert first["gap_sum"] == pytest.approx(sum(gaps), rel=1e-4)
    assert first["gap_mean"] == pytest.approx(sum(gaps) / 2, rel=1e-4)
    assert first["gap_min"] == pytest.approx(gaps[0], rel=1e-4)
    assert (first["student_log_prob"], first["teacher_log_prob"]) == pytest.approx((math.log(0.93), -19.16), rel=1e-4)
    assert [row[0] for row in stops.rows] == [25]
    assert found.scalars["stop_gap_mean"] == pytest.approx((math.log(1e-3) + math.log(0.5)) / 2)
    assert found.scalars["stop_gap_min"] == pytest.approx(math.log(1e-3))
    assert found.scalars["gap_min"] == pytest.approx(gaps[0])
    total = np.abs(np.log(np.array(teacher) / np.array(student))).sum()
    assert found.scalars["top_id_weight"] == pytest.approx(sum(map(abs, gaps)) / total)


def test_a_sum_of_signs_does_not_cancel() -> None:
    found = Mismatch(top=1)(observed([[0, 0, 1]], [[0.5, 0.1, 0.5]], [[0.1, 0.5, 0.4]]))
    assert found.tables[0].rows[0][:2] == (0, "a")
    assert found.tables[0].rows[0][3] == pytest.approx(0, abs=1e-9)


def test_without_stop_tokens_or_scores() -> None:
    found = Mismatch()(observed([[0]], [[0.5]], [[0.5]]))
    assert math.isnan(found.scalars["stop_gap_mean"])
    assert found.tables[2].rows == ()
    assert Mismatch()(observed([[0]], [[0.5]], [[0.5]], scored=np.array([[False]]))) == Finding()


def test_an_empty_table_is_refused() -> None:
    with pytest.raises(UserError, match=r"diagnostics\.mismatch\.top=0"):
        Mismatch(top=0)
