"""The spread of the advantages, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opdkit.diagnostics import Finding, Imbalance
from tests.diagnostics.observed import observed


def test_shares_quantiles_and_correlation() -> None:
    student, teacher = [[0.5, 0.5], [0.8, 0.1]], [[0.25, 0.25], [0.1, 0.2]]
    found = Imbalance()(observed([[0, 1], [2, 3]], student, teacher))
    advantage = [math.log(0.5), math.log(0.5), math.log(0.125), math.log(2)]
    assert found.scalars["positive_share"] == 0.25
    assert found.scalars["positive_weight"] == pytest.approx(math.log(2) / sum(map(abs, advantage)))
    assert found.scalars["advantage_p50"] == pytest.approx(math.log(0.5))
    wanted = np.corrcoef(np.ravel(student), np.ravel(teacher))[0, 1]
    assert found.scalars["probability_correlation"] == pytest.approx(wanted)
    quantiles, histogram = found.tables
    assert quantiles.rows[0] == (0.0, pytest.approx(math.log(0.125), rel=1e-5))
    assert quantiles.rows[-1] == (1.0, pytest.approx(math.log(2), rel=1e-5))
    filled = {row[:2]: row[2:] for row in histogram.rows if row[2]}
    assert {limits: count for limits, (count, _) in filled.items()} == {
        (-1.0, -0.316228): 2, (-3.16228, -1.0): 1, (0.316228, 1.0): 1,
    }  # fmt: skip
    assert [weight for _, weight in filled.values()] == pytest.approx([3 / 6, 2 / 6, 1 / 6], abs=1e-5)


def test_what_was_not_scored_does_not_count() -> None:
    seen = observed([[0, 1]], [[0.5, 0.5]], [[0.25, 0.9]], scored=np.array([[True, False]]))
    found = Imbalance()(seen)
    assert found.scalars["positive_share"] == 0
    assert found.scalars["positive_weight"] == 0
    assert math.isnan(found.scalars["probability_correlation"])


def test_extremes_fall_into_the_outermost_bins_and_equal_models_give_no_weight() -> None:
    far = Imbalance()(observed([[0, 1]], [[1e-300, 1.0]], [[1.0, 1e-300]]))
    assert [row[2] for row in far.tables[1].rows] == [1, *[0] * (len(far.tables[1].rows) - 2), 1]
    assert math.isnan(Imbalance()(observed([[0]], [[0.5]], [[0.5]])).scalars["positive_weight"])


def test_nothing_scored_is_no_finding() -> None:
    assert Imbalance()(observed([[0]], [[0.5]], [[0.5]], scored=np.array([[False]]))) == Finding()
