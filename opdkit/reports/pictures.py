"""Draws a report's PNG figures: a section's charts side by side, and a benchmark's results."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from opdkit.charts.axes import draw_chart
from opdkit.charts.chart import Section
from opdkit.charts.style import SOFT, image, panels, styled
from opdkit.reports.interval_plot import Span, difference_span, draw_difference, draw_result, result_span
from opdkit.reports.results import Benchmark
from opdkit.reports.text import MINUS
from opdkit.untrusted import visible

_COLUMNS = 3
_MOST_RESULTS, _MOST_DIFFERENCES = 40, 15
_LONGEST_LABEL = 52


def section_picture(section: Section, colours: Mapping[int, str]) -> bytes:
    """A section's charts in rows of three, under one legend."""
    columns = min(_COLUMNS, len(section.charts))
    rows = math.ceil(len(section.charts) / columns)
    handles: dict[str, Any] = {}
    with styled():
        figure, all_axes = panels(columns, rows, width=3.7, height=2.7 + 0.5 / rows)
        for axes, chart in zip(all_axes, section.charts, strict=False):
            handles |= draw_chart(axes, chart, colours)
            axes.grid(axis="x", visible=False)
            axes.set_title(f"{visible(chart.title)}\n", weight="bold")
            axes.text(0, 1.03, visible(chart.unit), transform=axes.transAxes, fontsize=8, color=SOFT)
        for axes in all_axes[len(section.charts) :]:
            axes.set_axis_off()
        if len(handles) > 1:
            figure.legend(handles.values(), handles.keys(), loc="outside upper left", ncols=4)
        return image(figure)


def results_picture(benchmark: Benchmark, colours: Mapping[int, str]) -> bytes:
    """Results and paired differences of a benchmark with intervals, one row each."""
    results = sorted(benchmark.results, key=lambda result: result.accuracy.mean)[-_MOST_RESULTS:]
    differences = list(reversed(benchmark.differences[:_MOST_DIFFERENCES]))
    counts = [count for count in (len(results), len(differences)) if count]
    with styled():
        height = (1.5 + 0.34 * sum(counts) + 0.6 * (len(counts) - 1)) / len(counts)
        figure, (axes, *below) = panels(1, len(counts), width=7.4, height=height, height_ratios=counts)
        for row, result in enumerate(results):
            draw_result(axes, result, row, colours[result.index])
        labels = [result.configuration.label for result in results]
        _rows(axes, labels, result_span(results), f"pass@1 on {benchmark.name}, with 95 % intervals")
        for name, value in (("before", results[-1].before), ("teacher", results[-1].teacher)):
            if math.isfinite(value):
                axes.annotate(name, (value, len(results) - 0.6), ha="center", va="bottom", fontsize=8, color=SOFT)
        for axes in below:
            for row, difference in enumerate(differences):
                draw_difference(axes, difference, row)
            names = [f"{d.first.configuration.label} {MINUS} {d.second.configuration.label}" for d in differences]
            _rows(axes, names, difference_span(differences), "paired difference, points, with 95 % intervals")
        return image(figure)


def _rows(axes: Axes, labels: Sequence[str], span: Span, x_label: str) -> None:
    axes.set_yticks(range(len(labels)), [_shortened(visible(label)) for label in labels])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.grid(axis="y", visible=False)
    span.scale(axes)
    axes.set_xlabel(visible(x_label), loc="right")


def _shortened(label: str) -> str:
    """The start and end of a label too long for the margin."""
    half = _LONGEST_LABEL // 2
    return label if len(label) <= _LONGEST_LABEL else f"{label[:half]}…{label[-half:]}"
