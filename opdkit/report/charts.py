"""What a chart shows, apart from how it is drawn: `svg` draws it for the page, `png` as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from opdkit.report.text import minus

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One line: x, y f64[n], NaN in y is a gap; low, high f64[n] or None, the band around it.

    place: the configuration's place in the report, from which its colour follows; spread_of: runs behind it.
    """

    label: str
    place: int
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True)
class Chart:
    """One pair of axes. unit: of y, in words; references: horizontal lines, (label, y); x_ticks: (x, label)."""

    title: str
    unit: str
    lines: Sequence[Line]
    x_label: str = "step"
    log: bool = False
    percent: bool = False
    references: Sequence[tuple[str, float]] = ()
    x_ticks: Sequence[tuple[float, str]] | None = None


@dataclass(frozen=True)
class Section:
    """Charts that belong together. name: for files and links; note: what a reader should know first;
    constants: (title, value) of what never moved in any run, and is not worth a chart."""

    name: str
    title: str
    note: str
    charts: Sequence[Chart] = field(default_factory=list[Chart])
    constants: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Axis:
    """A range and its ticks, (value, label). Positions are fractions of the range, from 0 to 1."""

    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def position(self, values: Values) -> Values:
        """Fractions of the axis; NaN where a value can't be on it."""
        if not self.log:
            return (values - self.low) / (self.high - self.low)
        with np.errstate(invalid="ignore", divide="ignore"):
            logs = np.log10(np.where(values > 0, values, np.nan))
        return (logs - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))


def y_axis(chart: Chart) -> Axis:
    """The axis that holds every line, band and reference."""
    parts = [values for line in chart.lines for values in (line.y, line.low, line.high) if values is not None]
    parts.append(np.array([value for _, value in chart.references], dtype=np.float64))
    values = np.concatenate(parts) if parts else np.zeros(0)
    values = values[np.isfinite(values) & ((values > 0) if chart.log else True)]
    if not len(values):
        return Axis(0.0, 1.0, [(0.0, "0"), (1.0, "1")])
    low, high = float(values.min()), float(values.max())
    return log_axis(low, high) if chart.log else linear_axis(low, high, percent=chart.percent)


def x_axis(chart: Chart) -> Axis:
    """From the first to the last x of all lines, without a margin."""
    values = np.concatenate([line.x for line in chart.lines]) if chart.lines else np.zeros(1)
    low, high = float(values.min()), float(values.max())
    if chart.x_ticks is not None:
        margin = (high - low or 1.0) * 0.06
        return Axis(low - margin, high + margin, chart.x_ticks)
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = nice_step(high - low, 4)
    if bool((values == np.round(values)).all()):
        step = max(1.0, step)
    first = math.ceil(low / step)
    ticks = [(n * step, f"{n * step:g}") for n in range(first, math.floor(high / step) + 1)]
    return Axis(low, high, ticks)


def linear_axis(low: float, high: float, *, percent: bool = False, count: int = 4) -> Axis:
    """Round limits around [low, high] with about `count` ticks."""
    if high - low < 1e-12 * max(1.0, abs(high)):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    step = nice_step(high - low, count)
    bottom, top = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step * (100 if percent else 1)) + 1e-9))
    ticks = [(n * step, _tick(n * step, digits, percent=percent)) for n in range(bottom, top + 1)]
    return Axis(bottom * step, top * step, ticks)


def log_axis(low: float, high: float) -> Axis:
    """Whole decades around [low, high], at most six of them named."""
    bottom, top = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    top = max(top, bottom + 1)
    every = math.ceil((top - bottom) / 5)
    return Axis(10.0**bottom, 10.0**top, [(10.0**n, power(n)) for n in range(bottom, top + 1, every)], log=True)


def nice_step(span: float, count: int) -> float:
    """1, 2 or 5 times a power of ten, near span / count."""
    raw = span / count
    unit = 10.0 ** math.floor(math.log10(raw))
    return unit * min((1.0, 2.0, 5.0, 10.0), key=lambda factor: abs(math.log(factor * unit / raw)))


def power(exponent: int) -> str:
    """10 to the exponent, in words of type: 10⁻³."""
    if exponent in (0, 1):
        return ("1", "10")[exponent]
    return "10" + str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def constant(chart: Chart) -> str | None:
    """The one value of everything in a chart, as text; None where anything moves."""
    values = np.concatenate([line.y for line in chart.lines])
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() != finite.max():
        return None
    value = float(finite[0])
    return minus(f"{100 * value:.4g} %" if chart.percent else f"{value:.4g} {chart.unit}".strip())


def _tick(value: float, digits: int, *, percent: bool) -> str:
    shown = 100 * value if percent else value
    if not percent and abs(shown) >= 10_000:
        return f"{shown:.2g}".replace("e+0", "e").replace("e+", "e")
    if not percent and digits > 4:
        return f"{shown:.1e}".replace("e-0", "e-") if value else "0"
    return minus(f"{shown:.{digits}f}{' %' if percent else ''}")
