"""Intervals, paired tests and Holm's correction against published values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opdkit.intervals import bootstrap, crossed_bootstrap, holm, paired_t, t_interval


@pytest.mark.parametrize(
    ("degrees", "quantile"), [(1, 12.7062), (2, 4.30265), (4, 2.77645), (9, 2.26216), (30, 2.04227), (200, 1.97190)]
)
def test_the_t_interval_has_the_quantile_of_the_tables(degrees: int, quantile: float) -> None:
    values = np.random.default_rng(0).normal(size=degrees + 1)
    found = t_interval(values)
    error = values.std(ddof=1) / math.sqrt(degrees + 1)
    assert (found.high - found.mean) / error == pytest.approx(quantile, rel=1e-5)
    assert (found.mean - found.low) / error == pytest.approx(quantile, rel=1e-5)


def test_the_t_interval_covers_the_truth_as_often_as_it_says() -> None:
    samples = np.random.default_rng(0).normal(3.0, 2.0, size=(600, 3))
    found = [t_interval(sample) for sample in samples]
    assert 0.92 < sum(one.low <= 3.0 <= one.high for one in found) / len(found) < 0.98


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    alone = t_interval([2.0])
    assert (alone.mean, alone.text(), alone.has_interval) == (2.0, "2.00", False)
    assert t_interval([2.0, 2.0]).text() == "2.00 (2.00 to 2.00)"
    assert t_interval([1.0, 2.0, 3.0]).text() == "2.00 (-0.48 to 4.48)"
    assert t_interval([1.0, 2.0, 3.0]).clipped(0.0, 4.0).text() == "2.00 (0.00 to 4.00)"
    assert t_interval([123456.0]).text() == "1.2e+05"
    assert t_interval([1.0, math.inf]).text() == "not finite"
    assert math.isnan(t_interval([1.0, math.nan, 2.0]).low)
    with pytest.raises(ValueError, match="no values"):
        t_interval([])


def test_the_paired_test_on_students_own_sleep_data() -> None:
    # Student 1908, hours of sleep gained under two drugs: t = 4.0621 with 9 degrees of freedom, p = 0.00283.
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    other = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    found = paired_t(other - one)
    assert found.pairs == 10
    assert found.estimate.mean == pytest.approx(1.58)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((0.7001142, 2.4598858), abs=1e-6)
    assert found.p == pytest.approx(0.002833, abs=1e-6)


@pytest.mark.parametrize("differences", [[0.25], [0.1, 0.1, 0.1]])
def test_no_spread_gives_no_certainty(differences: list[float]) -> None:
    found = paired_t(np.array(differences))
    assert found.estimate.mean == pytest.approx(differences[0])
    assert all(math.isnan(value) for value in (found.estimate.low, found.estimate.high, found.p))


def test_holm_against_a_worked_example() -> None:
    # Sorted .005 .010 .030 .040, times 4 3 2 1, then never falling.
    assert holm([0.010, 0.040, 0.030, 0.005]) == pytest.approx([0.030, 0.060, 0.060, 0.020])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    with_gap = holm([0.01, math.nan, 0.02])
    assert with_gap[0] == pytest.approx(0.02)
    assert math.isnan(with_gap[1])


def test_a_bootstrap_of_two_seeds_is_their_range() -> None:
    found = bootstrap(np.array([0.2, 0.6]))
    assert (found.mean, found.low, found.high) == pytest.approx((0.4, 0.2, 0.6))


def test_a_bootstrap_of_many_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(0).normal(size=400)
    found = bootstrap(values)
    half = 1.96 * values.std() / math.sqrt(400)
    assert found.high - found.mean == pytest.approx(half, rel=0.1)
    assert found.mean - found.low == pytest.approx(half, rel=0.1)


def test_problems_widen_the_interval_and_one_alone_tells_nothing() -> None:
    right = np.random.default_rng(1).random((3, 60)) < 0.5
    matrix = np.repeat(right[:1], 3, axis=0).astype(float)  # three seeds that agree on every problem
    assert bootstrap(matrix.mean(1)).high == pytest.approx(matrix.mean())
    crossed = crossed_bootstrap(matrix)
    half = 1.96 * matrix[0].std() / math.sqrt(60)
    assert crossed.high - crossed.mean == pytest.approx(half, rel=0.15)
    assert math.isnan(crossed_bootstrap(np.array([[0.3]])).low)


def test_the_same_values_give_the_same_interval() -> None:
    values = np.array([0.1, 0.5, 0.4, 0.9])
    assert bootstrap(values) == bootstrap(values)
