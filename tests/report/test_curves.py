"""Aggregated curves, their bands, and the axes that they are drawn on."""

from __future__ import annotations

import numpy as np
import pytest

from opdkit.report.charts import Chart, linear_axis, log_axis, y_axis
from opdkit.report.curves import POINTS, line
from opdkit.report.runs import Curve
from opdkit.report.svg import chart


def curve(values: list[float], first: int = 1) -> Curve:
    return Curve(np.arange(first, first + len(values), dtype=float), np.array(values, dtype=float))


def test_mean_and_band_of_two_runs_are_middle_and_range() -> None:
    found = line("x", 0, [curve([1.0, 2.0]), curve([3.0, 6.0])])
    np.testing.assert_allclose(found.y, [2.0, 4.0])
    assert found.low is not None
    assert found.high is not None
    np.testing.assert_allclose(found.low, [1.0, 2.0])
    np.testing.assert_allclose(found.high, [3.0, 6.0])


def test_a_run_that_ended_early_does_not_count_later() -> None:
    found = line("x", 0, [curve([1.0, 1.0, 1.0]), curve([3.0, np.nan])])
    np.testing.assert_allclose(found.y, [2.0, 1.0, 1.0])


def test_many_steps_are_averaged_in_stretches() -> None:
    found = line("x", 0, [curve(np.arange(1000.0).tolist())])
    assert len(found.x) == POINTS
    np.testing.assert_allclose(found.y, found.x - 1)
    assert found.low is None


def test_axes_are_round() -> None:
    axis = linear_axis(0.41, 0.98, percent=True)
    assert [label for _, label in axis.ticks] == ["40 %", "60 %", "80 %", "100 %"]
    below = [label.replace("\u2212", "-") for _, label in linear_axis(-0.03, 0.04).ticks]
    assert below == ["-0.04", "-0.02", "0.00", "0.02", "0.04"]
    assert [label for _, label in log_axis(0.002, 30.0).ticks] == ["10⁻³", "10⁻²", "10⁻¹", "1", "10", "10²"]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [1e-9, 2e-9], [np.nan, 1.0], [-1e6, 1e6]])
@pytest.mark.parametrize("log", [False, True])
def test_every_axis_holds_its_values(values: list[float], log: bool) -> None:
    shown = Chart("t", "u", [line("x", 0, [curve(values)])], log=log)
    axis = y_axis(shown)
    assert axis.low < axis.high
    places = axis.position(np.array(values))
    inside = places[np.isfinite(places)]
    assert ((inside >= -1e-9) & (inside <= 1 + 1e-9)).all()
    assert "nan" not in chart(shown, {0: "s0"})


def test_a_gap_lifts_the_pen_and_labels_are_escaped() -> None:
    shown = Chart("t<i>", "u", [line('"><script>', 0, [curve([1.0, np.nan, 3.0, 4.0])])])
    drawn = str(chart(shown, {0: "s0"}))
    path = drawn.split('class="line" d="')[1].split('"')[0]
    assert (path.count("M"), path.count("L")) == (2, 1)
    assert "<script>" not in drawn
    assert "<i>" not in drawn
