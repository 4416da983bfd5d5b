"""Charts as PNG pictures, through matplotlib (the `report` extra)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from opdkit.intervals import Estimate
from opdkit.report.charts import Axis, Chart, Line, Section, x_axis, y_axis
from opdkit.report.results import Benchmark
from opdkit.report.text import MINUS, visible

_COLOURS = {
    "s0": "#0b63b0", "s1": "#c8500a", "s2": "#008060", "s3": "#b0408a", "s4": "#3c9fd0", "s5": "#a87800",
    "s6": "#5b4bb5", "s7": "#3d4248", "rest": "#9aa3ad", "plain": "#1a1d21",
}  # fmt: skip
_MARKERS = {"s0": "o", "s1": "s", "s2": "^", "s3": "D", "s4": "v", "s5": "P", "s6": "_", "s7": "|"}
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa3ad",
    "axes.grid": True, "axes.grid.axis": "y", "grid.color": "#e6e9ed", "axes.axisbelow": True,
    "xtick.color": "#5a626c", "ytick.color": "#5a626c", "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.parse_math": False, "svg.fonttype": "none",
}  # fmt: skip
_ACROSS = 3
_DPI = 130
_LONGEST_LABEL = 52


def available() -> bool:
    """Whether matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def section(shown: Section, colours: Mapping[int, str]) -> bytes:
    """A section's charts side by side, and one legend."""
    with _styled():
        return _section(shown, colours)


def _section(shown: Section, colours: Mapping[int, str]) -> bytes:
    if shown.name.startswith("swept-"):
        colours = {0: "plain"}
    across = min(_ACROSS, len(shown.charts))
    down = math.ceil(len(shown.charts) / across)
    figure = _figure(3.7 * across, 2.7 * down + 0.5)
    entries: dict[str, Any] = {}
    for place, chart in enumerate(shown.charts):
        axes = figure.add_subplot(down, across, place + 1)
        _draw(axes, chart, colours, entries)
    if len(entries) > 1:
        figure.legend(entries.values(), entries.keys(), loc="outside upper left", ncols=4, frameon=False)
    return _bytes(figure)


def _draw(axes: Any, chart: Chart, colours: Mapping[int, str], entries: dict[str, Any]) -> None:
    for one in sorted(chart.lines, key=lambda line: colours[line.place] != "rest"):
        handle = _line(axes, one, colours[one.place])
        if colours[one.place] != "rest":
            entries[visible(one.label)] = handle
    for label, value in chart.references:
        axes.axhline(value, color="#5a626c", linewidth=0.8, linestyle=":")
        axes.annotate(
            visible(label), (1.0, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
    axes.set_title(f"{visible(chart.title)}\n", fontsize=10)
    axes.text(0, 1.03, visible(chart.unit), transform=axes.transAxes, fontsize=8, color="#5a626c")
    axes.set_xlabel(visible(chart.x_label), fontsize=8, loc="right", color="#5a626c")
    vertical, horizontal = y_axis(chart), x_axis(chart)
    axes.set_yscale("log" if vertical.log else "linear")
    axes.set_ylim(vertical.low, vertical.high)
    axes.set_xlim(horizontal.low, horizontal.high)
    _ticks(axes.yaxis, vertical)
    _ticks(axes.xaxis, horizontal)


def _ticks(axis: Any, shown: Axis) -> None:
    axis.set_ticks([value for value, _ in shown.ticks], [visible(label) for _, label in shown.ticks])
    axis.set_ticks([], minor=True)


def _line(axes: Any, one: Line, colour: str) -> Any:
    ink, thin = _COLOURS[colour], colour == "rest"
    if one.low is not None and one.high is not None and not thin:
        axes.fill_between(one.x, one.low, one.high, color=ink, alpha=0.15, linewidth=0)
    marker = _MARKERS.get(colour, "")
    every = [len(one.x) - 1] if len(one.x) > 12 else None
    (handle,) = axes.plot(
        one.x, one.y, color=ink, linewidth=0.7 if thin else 1.5, marker=marker, markersize=4.5, markevery=every
    )
    return handle


def results(benchmark: Benchmark, colours: Mapping[int, str]) -> bytes:
    """Results and paired differences of a benchmark as dots with intervals."""
    with _styled():
        return _results(benchmark, colours)


def _results(benchmark: Benchmark, colours: Mapping[int, str]) -> bytes:
    ordered = sorted(benchmark.results, key=lambda result: result.accuracy.mean)[-40:]
    shown = list(reversed(benchmark.differences[:15]))
    rows = len(ordered) + len(shown)
    figure = _figure(7.4, 1.5 + 0.34 * rows + (0.6 if shown else 0.0))
    grid = figure.add_gridspec(2 if shown else 1, 1, height_ratios=[len(ordered), len(shown)] if shown else None)
    axes = figure.add_subplot(grid[0])
    for place, one in enumerate(ordered):
        colour = colours[one.place]
        _dot(axes, one.accuracy, place, _COLOURS[colour], _MARKERS.get(colour, "o"))
        axes.scatter(
            [100 * value for value in one.by_seed.values()], [place] * len(one.by_seed),
            s=16, facecolors="none", edgecolors=_COLOURS[colour], linewidths=0.8,
        )  # fmt: skip
    for name, value, style in (("before", ordered[0].before, "--"), ("teacher", ordered[0].teacher, "-")):
        if math.isfinite(value):
            axes.axvline(100 * value, color="#5a626c", linewidth=0.9, linestyle=style)
            axes.annotate(
                name, (100 * value, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8
            )
    _words(axes, [visible(one.configuration.label) for one in ordered])
    axes.set_xlabel(f"pass@1 on {visible(benchmark.name)}, %, with 95 % intervals", fontsize=8, loc="right")
    if shown:
        _differences(figure.add_subplot(grid[1]), shown)
    return _bytes(figure)


def _differences(axes: Any, shown: Sequence[Any]) -> None:
    for place, one in enumerate(shown):
        _dot(axes, one.estimate, place, _COLOURS["plain"], "o")
    axes.axvline(0, color="#5a626c", linewidth=0.9)
    names = [f"{one.first.configuration.label} {MINUS} {one.second.configuration.label}" for one in shown]
    _words(axes, [visible(name) for name in names])
    axes.set_xlabel("paired difference, points, with 95 % intervals", fontsize=8, loc="right")


def _dot(axes: Any, estimate: Estimate, place: int, ink: str, marker: str) -> None:
    if math.isfinite(estimate.low):
        axes.plot([100 * estimate.low, 100 * estimate.high], [place, place], color=ink, linewidth=5, alpha=0.35)
    axes.plot([100 * estimate.mean], [place], marker=marker, color=ink, markersize=7)


def _words(axes: Any, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), [_short(label) for label in labels])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)


def _short(label: str) -> str:
    """Its beginning and end where there is no room for all of it beside the axes."""
    half = _LONGEST_LABEL // 2
    return label if len(label) <= _LONGEST_LABEL else f"{label[:half]}…{label[-half:]}"


def _styled() -> AbstractContextManager[None]:
    """Our style, and whoever else draws in this process keeps theirs."""
    import matplotlib

    return matplotlib.rc_context(_STYLE)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _bytes(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()
