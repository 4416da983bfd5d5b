"""A figure an ablation: accuracy by configuration with every seed, and the way there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from paper_numbers import Found

_COLOURS = ("#1a1d21", "#c8500a", "#0b63b0", "#008060", "#b0408a", "#a87800")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_STYLE: dict[Any, Any] = {
    "font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#9aa3ad",
    "axes.grid": True, "grid.color": "#e6e9ed", "axes.axisbelow": True, "axes.titlesize": 10,
    "axes.titlelocation": "left",
}  # fmt: skip
_WINDOW = 5
_PANELS = (
    ("Reward of rollouts, five-step mean", "rollout/reward_mean", False),
    ("Variance of the gradient", "train/grad_variance", True),
)


def draw(cases: Sequence[Found], path: Path) -> None:
    """The first case is the reference, in black. Bands are the range over seeds."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(10.5, 2.9), layout="constrained")
        dots, *curves = figure.subplots(1, 3, width_ratios=(1.15, 1, 1))
        _accuracy(dots, cases)
        for axes, (title, metric, log) in zip(curves, _PANELS, strict=True):
            axes.set_title(title)
            axes.set_xlabel("step", loc="right")
            if log:
                axes.set_yscale("log")
            for place, one in enumerate(cases):
                _curve(axes, one, metric, place)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def _accuracy(axes: Axes, cases: Sequence[Found]) -> None:
    axes.set_title("pass@1 after training, %")
    done = [(place, one) for place, one in enumerate(cases) if one.result is not None]
    for row, (place, one) in enumerate(reversed(done)):
        result = one.result
        assert result is not None
        ink = _COLOURS[place % len(_COLOURS)]
        if math.isfinite(result.accuracy.low):
            axes.plot(
                [100 * result.accuracy.low, 100 * result.accuracy.high], [row, row], color=ink, linewidth=5, alpha=0.3
            )
        seeds = [100 * value for value in one.seeds.values()]
        axes.scatter(seeds, [row] * len(seeds), s=14, facecolors="none", edgecolors=ink, linewidths=0.8)
        axes.plot([100 * result.accuracy.mean], [row], color=ink, marker=_MARKERS[place % len(_MARKERS)], markersize=6)
    reference = next((one.result for _, one in done if one.result is not None), None)
    if reference is not None and math.isfinite(reference.before):
        axes.axvline(100 * reference.before, color="#5a626c", linestyle="--", linewidth=0.9)
        axes.annotate(
            "untrained", (100 * reference.before, 0.0), xycoords=("data", "axes fraction"), fontsize=8,
            xytext=(3, 3), textcoords="offset points", color="#5a626c",
        )  # fmt: skip
    axes.set_yticks(range(len(done)), [one.case.name for _, one in reversed(done)])
    axes.set_ylim(-0.7, len(done) - 0.3)
    axes.grid(axis="y", visible=False)


def _curve(axes: Axes, one: Found, metric: str, place: int) -> None:
    found = [run.curves[metric] for run in (one.result.runs if one.result else ()) if metric in run.curves]
    if not found:
        return
    length = min(len(curve.values) for curve in found)
    rows = np.array([curve.values[:length] for curve in found])
    steps = found[0].steps[:length]
    if metric == "rollout/reward_mean" and length > _WINDOW:
        kernel = np.ones(_WINDOW) / _WINDOW
        rows = np.array([np.convolve(row, kernel, mode="valid") for row in rows])
        steps = steps[_WINDOW - 1 :]
    ink = _COLOURS[place % len(_COLOURS)]
    axes.fill_between(steps, rows.min(axis=0), rows.max(axis=0), color=ink, alpha=0.12, linewidth=0)
    axes.plot(
        steps, rows.mean(axis=0), color=ink, linewidth=1.4, marker=_MARKERS[place % len(_MARKERS)], markersize=4,
        markevery=[len(steps) - 1],
    )  # fmt: skip
