"""Draws the benchmark figure: times and memory of opdkit and peers, growth with length, and share of the bound."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.ticker import NullFormatter

from benchmarks.cases import Case
from benchmarks.contestants import CONTESTANTS
from opdkit.charts.style import COLOURS, image, panels, styled

_OURS, _BODY, _OTHERS, _FULL = (COLOURS[name] for name in ("s0", "s2", "rest", "s1"))
_COLUMNS = 2
_TITLE_WIDTH = 48  # characters
_LINES = {
    "opdkit_update": ("opdkit's update", _OURS, "o"),
    "body_update": ("transformers alone", _BODY, "s"),
    "logits_update": ("full logits", _FULL, "^"),
}

Panel = Callable[[Any], None]


def draw(summaries: Sequence[tuple[Case, Mapping[str, Any]]]) -> bytes:
    """A PNG with one or two panels per case with numbers."""
    drawings = [panel for case, numbers in summaries for panel in _panels(case, numbers)]
    rows = max(1, -(-len(drawings) // _COLUMNS))
    with styled():
        figure, all_axes = panels(_COLUMNS, rows, width=5.2, height=2.6)
        for axis, drawing in zip(all_axes, drawings, strict=False):
            drawing(axis)
        for axis in all_axes[len(drawings) :]:
            axis.set_axis_off()
        return image(figure)


def _panels(case: Case, numbers: Mapping[str, Any]) -> list[Panel]:
    if case.view == "comparison":
        if not any("min_s" in row for row in numbers["rows"].values()):
            return []
        return [lambda axis: _bars(axis, case, numbers["rows"])]
    if case.view == "growth":
        if not numbers["rows"]:
            return []
        return [
            lambda axis: _growth(axis, numbers["rows"], "extra_mib", "extra memory, MiB"),
            lambda axis: _growth(axis, numbers["rows"], "min_s", "time of an update, s"),
        ]
    return [lambda axis: _shares(axis, case, numbers)] if "fraction" in numbers else []


def _bars(axis: Any, case: Case, rows: Mapping[str, Any]) -> None:
    measured = [(name, row) for name, row in rows.items() if "min_s" in row][::-1]
    colours = [_OURS if name.startswith("opdkit") else _OTHERS for name, _ in measured]
    seconds = [row["min_s"] for _, row in measured]
    axis.barh([row["title"] for _, row in measured], seconds, color=colours, height=0.7)
    for index, (_, row) in enumerate(measured):
        axis.annotate(
            f" {row['min_s']:.2f} s, {row['extra_mib']:.0f} MiB", (row["min_s"], index), va="center", fontsize=7
        )
    axis.set_xscale("log")
    axis.set_xlim(min(seconds) / 2, max(seconds) * 8)
    axis.grid(axis="y", visible=False)
    axis.xaxis.set_minor_formatter(NullFormatter())
    _title(axis, case.title, case.shape.describe())
    axis.set_xlabel("fastest step, s (log)")


def _growth(axis: Any, rows: Mapping[str, Mapping[int, Any]], key: str, label: str) -> None:
    for name, points in rows.items():
        title, colour, marker = _LINES[name]
        lengths = sorted(points)
        values = [points[length][key] for length in lengths]
        axis.plot(lengths, values, color=colour, marker=marker, markersize=4, linewidth=1.4, label=title)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.set_xlabel("response length T, tokens")
    axis.set_title(f"Growth: {label}", fontsize=8, loc="left")
    axis.legend()


def _shares(axis: Any, case: Case, numbers: Mapping[str, Any]) -> None:
    names = [name for name in ("opdkit_update", "body_update", "update_products") if "min_s" in numbers["rows"][name]]
    shares = [numbers["bound_s"] / numbers["rows"][name]["min_s"] for name in names]
    colours = [_OURS if name == "opdkit_update" else _OTHERS for name in names]
    axis.barh([CONTESTANTS[name].title for name in names], shares, color=colours, height=0.6)
    axis.axvline(0.6, color=_FULL, linestyle="--", linewidth=1.2, label="goal")
    axis.axvline(1.0, color="black", linewidth=1.0, label="bound")
    axis.set_xlim(0, max(1.1, *shares))
    axis.grid(axis="y", visible=False)
    _title(axis, case.title, case.entries[1].shape.describe())
    axis.set_xlabel("bound / time")
    axis.legend(loc="lower right")


def _title(axis: Any, title: str, shape: str) -> None:
    axis.set_title("\n".join([title, *textwrap.wrap(shape, _TITLE_WIDTH)]), fontsize=8, loc="left")
