"""Student's t against its tables, the interval's coverage, the exponent of a power law."""

from __future__ import annotations

import math
import random

import pytest

from opdkit.study.intervals import estimate, slope, student_t


@pytest.mark.parametrize(
    ("freedom", "expected"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (9, 2.2622), (29, 2.0452), (200, 1.9719)]
)
def test_student_t_is_the_tables(freedom: int, expected: float) -> None:
    assert student_t(freedom) == pytest.approx(expected, abs=1e-4)


def test_another_level() -> None:
    assert student_t(5, 0.99) == pytest.approx(4.0321, abs=1e-4)


def test_interval_covers_the_truth_as_often_as_it_says() -> None:
    source = random.Random(0)
    found = [estimate([source.gauss(3.0, 2.0) for _ in range(3)]) for _ in range(600)]
    assert 0.92 < sum(e.low <= 3.0 <= e.high for e in found) / len(found) < 0.98


def test_one_value_has_no_interval_and_none_is_refused() -> None:
    alone = estimate([2.0])
    assert (alone.mean, alone.text()) == (2.0, "2.00")
    assert math.isnan(alone.low)
    assert estimate([1.0, 2.0, 3.0]).text() == "2.00 (-0.48 to 4.48)"
    assert estimate([1.0, 2.0, 3.0]).cut(0.0, 4.0).text() == "2.00 (0.00 to 4.00)"
    assert estimate([123456.0]).text() == "1.2e+05"
    assert estimate([1.0, math.inf]).text() == "not finite"
    assert math.isnan(estimate([1.0, math.nan, 2.0]).low)
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@pytest.mark.parametrize("exponent", [-0.5, 0.0, 1.0, 3.7])
def test_slope_finds_the_exponent(exponent: float) -> None:
    x = [1.0, 3.0, 4.0, 10.0]
    assert slope(x, [2.5 * value**exponent for value in x]) == pytest.approx(exponent)
