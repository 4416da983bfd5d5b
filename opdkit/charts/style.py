"""The style of all charts: fonts, and colour-blind safe colours and markers."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

SOFT = "#5a626c"
COLOURS = {
    "s0": "#0b63b0", "s1": "#c8500a", "s2": "#008060", "s3": "#b0408a", "s4": "#3c9fd0", "s5": "#a87800",
    "s6": "#5b4bb5", "s7": "#3d4248", "rest": "#9aa3ad", "plain": "#1a1d21",
}  # fmt: skip
"""Colour of each series class; the page's style sheet has the same names. `rest` is shared by all further series."""
MARKERS = dict(zip(COLOURS, "os^DvPX*.o", strict=True))
_STYLE: dict[Any, Any] = {
    "font.size": 9.0, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.labelsize": 8.5,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa3ad", "axes.grid": True,
    "axes.axisbelow": True, "axes.autolimit_mode": "round_numbers", "axes.xmargin": 0.0, "axes.ymargin": 0.0,
    "grid.color": "#e6e9ed", "grid.linewidth": 0.7, "xtick.color": SOFT, "ytick.color": SOFT,
    "legend.frameon": False, "savefig.dpi": 130, "text.parse_math": False, "path.simplify": False,
    "svg.hashsalt": "opdkit", "svg.fonttype": "none",
}  # fmt: skip
_METADATA: dict[str, dict[str, None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
_LIGHTEST = 0.85


def styled() -> AbstractContextManager[None]:
    """Context manager that applies the style."""
    return mpl.rc_context(_STYLE)


def panels(
    columns: int, rows: int = 1, *, width: float = 4.0, height: float = 3.2, **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns panels of the given size in inches, and its axes row by row. Use within `styled`."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def image(figure: Figure, kind: str = "png") -> bytes:
    """The figure as a PNG or SVG file, identical on all machines."""
    stream = io.BytesIO()
    figure.savefig(stream, format=kind, metadata=_METADATA[kind])
    return stream.getvalue()


def series_styles(count: int) -> list[dict[str, Any]]:
    """Colour and marker of each of `count` series, for `Axes.plot`."""
    names = list(COLOURS)[:8]
    return [{"color": COLOURS[names[i % 8]], "marker": MARKERS[names[i % 8]], "markersize": 4} for i in range(count)]


def ordered_styles(values: Sequence[float]) -> Mapping[float, dict[str, Any]]:
    """Colour and marker of ordered values, dark to light, so that greyscale prints are readable."""
    markers = list(MARKERS.values())
    step = _LIGHTEST / max(len(values) - 1, 1)
    return {
        value: {"color": mpl.colormaps["viridis"](i * step), "marker": markers[i % 8], "markersize": 3.5}
        for i, value in enumerate(values)
    }
