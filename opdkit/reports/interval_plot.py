"""Draws a mean, its interval and its seeds as a table cell, on an axis shared by all rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from opdkit.charts.axes import draw_interval, draw_mark, scale_axis
from opdkit.charts.style import styled
from opdkit.charts.svg import figure_markup
from opdkit.reports.results import Difference, Result

WIDTH, HEIGHT, _SCALE_HEIGHT = 240, 26, 14
_MARGIN = 7


@dataclass(frozen=True)
class Span:
    """The range of values of an interval plot, and the unit on its axis."""

    low: float
    high: float
    symbol: str = " %"

    @classmethod
    def around(cls, values: Sequence[float], symbol: str = " %") -> Span:
        finite = [value for value in values if math.isfinite(value)]
        return cls(min(finite), max(finite), symbol)

    def scale(self, axes: Axes) -> None:
        """Sets the limits of the x axis to the span."""
        scale_axis(axes.xaxis, self.low, self.high, percent=True, symbol=self.symbol)


def result_span(results: Sequence[Result]) -> Span:
    """Covers seeds, intervals, and the accuracies before training and of the teacher."""
    return Span.around([
        value
        for result in results
        for value in (
            *result.by_seed.values(), result.accuracy.low, result.accuracy.high, result.before, result.teacher,
        )
    ])  # fmt: skip


def difference_span(differences: Sequence[Difference]) -> Span:
    """Covers means, intervals and zero."""
    estimates = [difference.estimate for difference in differences]
    return Span.around([0.0, *(value for one in estimates for value in (one.mean, one.low, one.high))], symbol="")


def draw_result(axes: Axes, result: Result, row: float, colour: str) -> None:
    """One configuration: its seeds if there are several, interval and mean, before and teacher."""
    for name, value in (("before", result.before), ("teacher", result.teacher)):
        draw_mark(axes, name, value, row)
    draw_interval(axes, row, result.accuracy, list(result.by_seed.values()) if len(result.by_seed) > 1 else [], colour)


def draw_difference(axes: Axes, difference: Difference, row: float) -> None:
    """One paired difference, with a line at zero."""
    draw_mark(axes, "zero", 0.0, row)
    draw_interval(axes, row, difference.estimate, [], "plain")


def result_strip(result: Result, span: Span, colour: str) -> Markup:
    """`draw_result` as inline SVG."""
    with styled():
        figure, axes = _axes(span, HEIGHT)
        draw_result(axes, result, 0.0, colour)
        return _svg(figure, colour, HEIGHT)


def difference_strip(difference: Difference, span: Span) -> Markup:
    """`draw_difference` as inline SVG."""
    with styled():
        figure, axes = _axes(span, HEIGHT)
        draw_difference(axes, difference, 0.0)
        return _svg(figure, "plain", HEIGHT)


def scale(span: Span) -> Markup:
    """The tick labels, above the rows."""
    with styled():
        figure, axes = _axes(span, _SCALE_HEIGHT)
        axes.grid(visible=False)
        axes.tick_params(labelbottom=True, pad=-12)
        return _svg(figure, "", _SCALE_HEIGHT)


def _axes(span: Span, height: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_axes((_MARGIN / WIDTH, 0.0, 1 - 2 * _MARGIN / WIDTH, 1.0))
    span.scale(axes)
    axes.set_ylim(-0.5, 0.5)
    axes.yaxis.set_visible(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(labelbottom=False)
    return figure, axes


def _svg(figure: Figure, colour: str, height: int) -> Markup:
    return Markup('<svg class="strip {}" viewBox="0 0 {} {}" aria-hidden="true">{}</svg>').format(
        colour, WIDTH, height, figure_markup(figure)
    )
