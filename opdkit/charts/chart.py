"""Charts as data, independent of drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: Name in the legend.
        index: Index of the configuration in the report, which decides the colour.
        x, y: f64[n]; NaN in y is a gap.
        low, high: f64[n], the band around the line, or None.
    """

    label: str
    index: int
    x: Values
    y: Values
    low: Values | None = None
    high: Values | None = None


@dataclass(frozen=True)
class Chart:
    """One pair of axes.

    Attributes:
        title: Heading.
        unit: Unit of y, in words.
        lines: The lines.
        x_label: Label of the x axis.
        log: Whether y is logarithmic.
        percent: Whether y is a fraction shown in percent.
        references: Horizontal lines, (label, y).
        x_ticks: (x, label) of each tick; None lets the axis choose.
    """

    title: str
    unit: str
    lines: Sequence[Line]
    x_label: str = "step"
    log: bool = False
    percent: bool = False
    references: Sequence[tuple[str, float]] = ()
    x_ticks: Sequence[tuple[float, str]] | None = None

    def constant(self) -> str | None:
        """The constant value of all lines as text; None if any line varies."""
        values = np.concatenate([line.y for line in self.lines])
        finite = values[np.isfinite(values)]
        if not len(finite) or finite.min() != finite.max():
            return None
        value = float(finite[0])
        text = f"{100 * value:.4g} %" if self.percent else f"{value:.4g} {self.unit}".strip()
        return text.replace("-", "\N{MINUS SIGN}")


@dataclass(frozen=True)
class Section:
    """Charts under one heading.

    Attributes:
        name: Identifier for file names and links.
        title: Heading.
        note: One introductory sentence.
        charts: The charts.
        constants: (title, value) of metrics constant in all runs, listed as text instead of charts.
    """

    name: str
    title: str
    note: str
    charts: Sequence[Chart] = field(default_factory=list[Chart])
    constants: Sequence[tuple[str, str]] = ()
