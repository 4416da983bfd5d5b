"""How figures look: one style, colours that colour-blind readers can tell apart, no pyplot.

Matplotlib is imported here and in the studies' figures alone, and only when they are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

_STYLE: Any = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.dpi": 150,
    "svg.hashsalt": "opdkit",
    "svg.fonttype": "none",
}
_DARKEST, _LIGHTEST = 0.0, 0.85
_MARKERS = "os^Dv<>P"


def panels(columns: int, rows: int = 1, *, width: float = 4.0, height: float = 3.2) -> tuple[Figure, list[Any]]:
    """A figure of rows x columns panels of the given size in inches, and its axes, row by row."""
    mpl.rcParams.update(_STYLE)
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [axis for row in axes for axis in row]


def shades(count: int) -> list[Any]:
    """Colours for ordered values, dark to light, told apart by lightness too (viridis without its palest end)."""
    steps = [_DARKEST + (_LIGHTEST - _DARKEST) * i / max(count - 1, 1) for i in range(count)]
    return [mpl.colormaps["viridis"](step) for step in steps]


def looks(values: Sequence[float]) -> dict[float, dict[str, Any]]:
    """Colour and marker of each value: a printed copy in grey can still be read."""
    return {
        value: {"color": shade, "marker": _MARKERS[i % len(_MARKERS)], "markersize": 3.5, "linewidth": 1.4}
        for i, (value, shade) in enumerate(zip(values, shades(len(values)), strict=True))
    }
