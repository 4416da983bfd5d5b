"""Draws a figure for each ablation: accuracy by configuration with every seed, and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from paper_numbers import Found

from opdkit.charts.axes import draw_band, draw_interval, draw_mark, scale_axis
from opdkit.charts.style import COLOURS, SOFT, image, panels, series_styles, styled
from opdkit.files import write_whole

_WINDOW = 5
_PANELS = (
    ("Reward of rollouts, five-step mean", "rollout/reward_mean", False),
    ("Variance of the gradient", "train/grad_variance", True),
)


def draw(cases: Sequence[Found], path: Path) -> None:
    """Writes the figure as PNG. Bands are the range over seeds."""
    styles = series_styles(len(cases))
    with styled():
        figure, (accuracy, *curves) = panels(3, width=3.5, height=2.9, width_ratios=(1.15, 1, 1))
        _accuracy(accuracy, cases)
        for axes, (title, metric, log) in zip(curves, _PANELS, strict=True):
            axes.set_title(title)
            axes.set_xlabel("step", loc="right")
            if log:
                axes.set_yscale("log")
            for case, style in zip(cases, styles, strict=True):
                _curve(axes, case, metric, style)
        write_whole(path, image(figure))


def _accuracy(axes: Axes, cases: Sequence[Found]) -> None:
    axes.set_title("pass@1 after training")
    names = list(COLOURS)[:8]
    done = [(names[i % 8], one.case.name, one.result) for i, one in enumerate(cases) if one.result is not None]
    values = [v for _, _, r in done for v in (*r.by_seed.values(), r.accuracy.low, r.accuracy.high, r.before)]
    finite = [value for value in values if np.isfinite(value)]
    for row, (colour, _, result) in enumerate(reversed(done)):
        draw_interval(axes, row, result.accuracy, list(result.by_seed.values()), colour)
        draw_mark(axes, "before", result.before, row)
    scale_axis(axes.xaxis, min(finite), max(finite), percent=True)
    axes.set_yticks(range(len(done)), [name for _, name, _ in reversed(done)])
    axes.set_ylim(-0.7, len(done) - 0.3)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("dashed: untrained", loc="right", color=SOFT)


def _curve(axes: Axes, case: Found, metric: str, style: dict[str, Any]) -> None:
    curves = [run.curves[metric] for run in (case.result.runs if case.result else ()) if metric in run.curves]
    if not curves:
        return
    length = min(len(curve.values) for curve in curves)
    rows = np.array([curve.values[:length] for curve in curves])
    steps = curves[0].steps[:length]
    if metric == "rollout/reward_mean" and length > _WINDOW:
        kernel = np.ones(_WINDOW) / _WINDOW
        rows = np.array([np.convolve(row, kernel, mode="valid") for row in rows])
        steps = steps[_WINDOW - 1 :]
    low, high = rows.min(axis=0), rows.max(axis=0)
    draw_band(axes, steps, rows.mean(axis=0), low, high, markevery=[len(steps) - 1], alpha=0.12, **style)
