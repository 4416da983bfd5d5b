"""Aggregated curves, their bands, and the axes that they are drawn on."""

from __future__ import annotations

import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from opdkit.charts.axes import scale_axis
from opdkit.charts.chart import Chart
from opdkit.charts.style import styled
from opdkit.charts.svg import chart_svg, marker_path
from opdkit.reports.curves import POINTS, line
from opdkit.reports.runs import Curve


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


def ticks(low: float, high: float, **options: bool) -> list[str]:
    axis = Figure().subplots().yaxis
    if options.get("log"):
        axis.axes.set_yscale("log")
    with styled():
        scale_axis(axis, low, high, **options)
    labels = axis.get_major_formatter().format_ticks(axis.get_majorticklocs())
    return [label.replace("\u2212", "-").replace("\u00a0", " ") for label in labels]


def test_axes_are_round() -> None:
    assert ticks(0.41, 0.98, percent=True) == ["40 %", "60 %", "80 %", "100 %"]
    assert ticks(-0.03, 0.04) == ["-0.04", "-0.02", "0.00", "0.02", "0.04"]
    assert ticks(0.002, 30.0, log=True) == ["10⁻³", "10⁻²", "10⁻¹", "1", "10", "10²"]
    assert ticks(2e5, 9e5) == ["200k", "400k", "600k", "800k", "1M"]


def numbers(drawn: str, css_class: str) -> list[tuple[float, float]]:
    """The points of every path of a class."""
    paths = re.findall(rf'class="{css_class}" d="([^"]*)"', drawn)
    return [(float(x), float(y)) for path in paths for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path)]


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0], [1e-9, 2e-9], [np.nan, 1.0], [-1e6, 1e6]])
@pytest.mark.parametrize("log", [False, True])
def test_every_axis_holds_its_values(values: list[float], log: bool) -> None:
    drawn = str(chart_svg(Chart("t", "u", [line("x", 0, [curve(values)])], log=log), {0: "s0"}))
    assert "nan" not in drawn
    low, high = (float(re.findall(rf'data-{end}="([^"]*)"', drawn)[0]) for end in ("y0", "y1"))
    assert low < high
    shown = [value for value in values if np.isfinite(value) and (value > 0 or not log)]
    assert all(low - 1e-9 <= value <= high * (1 + 1e-9) for value in shown)
    for x, y in numbers(drawn, "line"):
        assert 40 <= x <= 328
        assert 8 <= y <= 176


def test_the_page_can_read_the_values_back_off_the_path() -> None:
    values = np.random.default_rng(0).normal(size=200).tolist()
    drawn = str(chart_svg(Chart("t", "u", [line("x", 0, [curve(values[:100])])]), {0: "s0"}))
    low, high = (float(re.findall(rf'data-{end}="([^"]*)"', drawn)[0]) for end in ("y0", "y1"))
    read = [low + (high - low) * (176 - y) / 168 for _, y in numbers(drawn, "line")]
    np.testing.assert_allclose(read, values[:100], atol=(high - low) / 1000)


def test_every_series_has_a_marker_of_its_own() -> None:
    assert len({marker_path(f"s{n}") for n in range(8)}) == 8


def test_a_gap_lifts_the_pen_and_labels_are_escaped() -> None:
    shown = Chart("t<i>", "u", [line('"><script>', 0, [curve([1.0, np.nan, 3.0, 4.0])])])
    drawn = str(chart_svg(shown, {0: "s0"}))
    path = drawn.split('class="line" d="')[1].split('"')[0]
    assert (path.count("M"), path.count("L")) == (2, 1)
    assert "<script>" not in drawn
    assert "<i>" not in drawn
