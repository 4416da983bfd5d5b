"""Draws charts and intervals on matplotlib axes, for PNG files and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import (
    EngFormatter,
    FixedLocator,
    Formatter,
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
    ScalarFormatter,
)

from opdkit.charts.chart import Chart, Line, Values
from opdkit.charts.style import COLOURS, MARKERS, SOFT
from opdkit.intervals import Estimate
from opdkit.untrusted import visible

_STEPS = [1, 2, 5, 10]
_INTERVALS = 5
_FEW_POINTS = 12
_MANY_LINES = 4


def draw_chart(axes: Axes, chart: Chart, colours: Mapping[int, str]) -> dict[str, Any]:
    """Draws a chart without its title; colours: index of a line -> its series class. Returns label -> legend handle."""
    _scale_x(axes, chart)
    _scale_y(axes, chart)
    handles: dict[str, Any] = {}
    for line in sorted(chart.lines, key=lambda one: colours[one.index] != "rest"):
        colour = colours[line.index]
        handle = _draw_line(axes, line, colour, log=chart.log, alpha=0.07 if len(chart.lines) > _MANY_LINES else 0.15)
        if colour != "rest":
            handles[visible(line.label)] = handle
    for label, value in chart.references:
        axes.axhline(value, color=SOFT, linewidth=0.9, linestyle=":", gid="reference", clip_on=False)
        axes.annotate(
            visible(label), (1.0, value), (0, 3), xycoords=("axes fraction", "data"), textcoords="offset points",
            ha="right", fontsize=8, color=SOFT,
        )  # fmt: skip
    axes.set_xlabel(visible(chart.x_label), loc="right", color=SOFT, labelpad=1)
    return handles


def draw_band(axes: Axes, x: Any, y: Any, low: Any, high: Any, *, alpha: float = 0.15, **style: Any) -> Any:
    """Draws a line with a band. Returns the line; style: arguments of `Axes.plot`."""
    (handle,) = axes.plot(x, y, **{"linewidth": 1.4, **style})
    axes.fill_between(x, low, high, color=handle.get_color(), alpha=alpha, linewidth=0)
    return handle


def _draw_line(axes: Axes, line: Line, colour: str, *, log: bool, alpha: float) -> Any:
    y, low, high = (_drawable(values, log=log) for values in (line.y, line.low, line.high))
    ink, thin = COLOURS[colour], colour == "rest"
    if low is not None and high is not None and not thin:
        band = axes.fill_between(line.x, low, high, color=ink, alpha=alpha, linewidth=0, clip_on=False)
        band.set_gid(f"band:{line.index}")
    assert y is not None
    finite = np.flatnonzero(np.isfinite(y))
    every = None if len(finite) <= _FEW_POINTS else [int(finite[-1])]
    (handle,) = axes.plot(
        line.x, y, color=ink, linewidth=0.7 if thin else 1.6, marker=MARKERS[colour], markersize=6, markevery=every,
        markeredgewidth=0, clip_on=False, gid=f"line:{line.index}",
    )  # fmt: skip
    return handle


def _drawable(values: Values | None, *, log: bool) -> Values | None:
    """Values with NaN where the axis can't show them."""
    if values is None or not log:
        return values
    with np.errstate(invalid="ignore"):
        return np.where(values > 0, values, np.nan)


def _scale_y(axes: Axes, chart: Chart) -> None:
    """Sets round y limits around all lines, bands and references."""
    arrays = [values for line in chart.lines for values in (line.y, line.low, line.high) if values is not None]
    arrays.append(np.array([value for _, value in chart.references], dtype=np.float64))
    shown = [kept for values in arrays if (kept := _drawable(values, log=chart.log)) is not None]
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.1, 1.0)
    if chart.log:
        axes.set_yscale("log")
    scale_axis(axes.yaxis, low, high, percent=chart.percent, log=chart.log)


def _scale_x(axes: Axes, chart: Chart) -> None:
    """Sets the x range to that of all lines."""
    values = np.concatenate([line.x for line in chart.lines]) if chart.lines else np.zeros(1)
    low, high = float(values.min()), float(values.max())
    margin = (high - low or 1.0) * 0.06 if chart.x_ticks is not None else 0.5 if low == high else 0.0
    axes.set_xlim(low - margin, high + margin)
    if chart.x_ticks is not None:
        axes.set_xticks([x for x, _ in chart.x_ticks], [visible(label) for _, label in chart.x_ticks])
        return
    whole = bool((values == np.round(values)).all())
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=_STEPS, integer=whole))


def scale_axis(
    axis: Axis, low: float, high: float, *, percent: bool = False, log: bool = False, symbol: str = " %"
) -> None:
    """Sets round limits around [low, high], ticks and labels; `symbol` follows a percentage. Use within `styled`."""
    if not log and high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    locator = LogLocator(numticks=_INTERVALS + 1) if log else MaxNLocator(_INTERVALS, steps=_STEPS)
    locator.set_axis(axis)
    low, high = locator.view_limits(low, high)
    (axis.axes.set_xlim if axis is axis.axes.xaxis else axis.axes.set_ylim)(low, high)
    slack = 1e-9 * abs(high - low)
    ticks = [float(tick) for tick in locator.tick_values(low, high) if low - slack <= tick <= high + slack]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(_formatter(ticks, symbol if percent else None, log=log))


def _formatter(ticks: Sequence[float], percent: str | None, *, log: bool) -> Formatter:
    if log:
        return FuncFormatter(lambda value, _: power_of_ten(round(np.log10(value))))
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    if percent is not None:
        decimals = max(0, -int(np.floor(np.log10(100 * step) + 1e-9)))
        return PercentFormatter(1.0, decimals=decimals, symbol=percent)
    return EngFormatter(sep="") if max(map(abs, ticks)) >= 1e4 or step < 1e-4 else ScalarFormatter(useOffset=False)


def power_of_ten(exponent: int) -> str:
    """10 to the exponent in superscript characters: 10⁻³."""
    if exponent in (0, 1):
        return ("1", "10")[exponent]
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def draw_interval(axes: Axes, row: float, estimate: Estimate, seeds: Sequence[float], colour: str) -> None:
    """One row of an interval plot: seeds as small rings, the interval as a bar, the mean as a marker."""
    ink = COLOURS[colour]
    if estimate.has_interval:
        axes.plot(
            [estimate.low, estimate.high], [row, row], color=ink, linewidth=5, alpha=0.38, gid="interval", clip_on=False
        )
    if seeds:
        axes.plot(
            seeds, [row] * len(seeds), "o", markerfacecolor="none", markeredgecolor=ink, markersize=5,
            markeredgewidth=1, gid="seed", clip_on=False,
        )  # fmt: skip
    axes.plot([estimate.mean], [row], MARKERS[colour], color=ink, markersize=7, gid="mean", clip_on=False)


def draw_mark(axes: Axes, name: str, x: float, row: float) -> None:
    """A short vertical line in a row of an interval plot: `before`, `teacher` or `zero`; nothing if x is NaN."""
    style = "--" if name == "before" else "-"
    axes.plot([x, x], [row - 0.36, row + 0.36], color=SOFT, linewidth=1.3, linestyle=style, gid=name, clip_on=False)
