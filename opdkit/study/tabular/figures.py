"""Draws the figures of the tabular study."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from torch import Tensor

from opdkit.charts.axes import draw_band
from opdkit.charts.style import ordered_styles, panels, styled
from opdkit.study.outcome import Picture
from opdkit.study.tabular.findings import BATCHES, Results, relative_error
from opdkit.study.tabular.measure import LONG, PARTS

_SHOWN_ERRORS = 3


def draw(results: Results) -> dict[str, Picture]:
    """Figures by file stem."""
    with styled():
        return {
            "variance": _variance(results),
            "bias": _bias(results),
            "enumerated": _enumerated(results),
            "error": _error(results),
        }


def _over_worlds(results: Results, part: str) -> Tensor:
    """log Var, f64[worlds, T, gammas]."""
    return torch.stack([world.variance.log() for world in results.part(part)])


def _variance(results: Results) -> Picture:
    figure, (axis,) = panels(1, width=5.6, height=4.0)
    _variance_lines(results, LONG, axis)
    horizons = results.grid.long_horizons
    bounds = [world.bounds for world in results.part(LONG)]
    middle = torch.tensor([(b.ratio * b.score) ** 2 for b in bounds]).log().mean().exp().item()
    lines = {
        "paper: T⁴": ([middle * t**4 for t in horizons], ":"),
        "derived: T² (T + 1) / 2": ([middle * t**2 * (t + 1) / 2 for t in horizons], "-."),
        "paper: T²": ([middle * t**2 for t in horizons], "--"),
    }
    for name, (values, style) in lines.items():
        axis.plot(horizons, values, style, color="#555555", linewidth=1.0, label=f"bound, {name}")
    axis.legend(fontsize=7, ncols=2)
    return Picture(
        figure,
        "Var g_γ against T, exact (recursion, shared parameters): geometric mean over worlds, 10th to 90th percentile "
        "shaded; bounds with the geometric mean of the worlds' (B_r B_s)².",
    )


def _variance_lines(results: Results, part: str, axis: Axes) -> None:
    horizons, logs = results.horizons(part), _over_worlds(results, part)
    low, high = torch.quantile(logs, torch.tensor([0.1, 0.9], dtype=torch.float64), dim=0).exp()
    means = logs.mean(0).exp()
    for column, (gamma, style) in enumerate(ordered_styles(results.grid.gammas).items()):
        draw_band(axis, horizons, means[:, column], low[:, column], high[:, column], label=f"γ = {gamma:g}", **style)
    axis.set(xscale="log", yscale="log", xlabel="response length T (tokens)", ylabel="variance tr Cov g_γ (nats²)")
    axis.set_xticks(horizons, [str(horizon) for horizon in horizons], minor=False)
    axis.minorticks_off()


def _bias(results: Results) -> Picture:
    figure, (axis,) = panels(1, width=5.6)
    relative = torch.stack([world.bias / world.gradient[:, None] for world in results.part(LONG)])
    horizons = results.grid.long_horizons
    for column, (gamma, style) in enumerate(ordered_styles(results.grid.gammas).items()):
        if gamma < 1.0:
            axis.plot(horizons, relative.mean(0)[:, column], label=f"γ = {gamma:g}", **style)
    axis.set(xscale="log", xlabel="response length T (tokens)", ylabel="|E g_γ − ∇KL| / |∇KL|", ylim=(0, None))
    axis.set_xticks(horizons, [str(horizon) for horizon in horizons])
    axis.minorticks_off()
    axis.legend(fontsize=7)
    return Picture(
        figure,
        "Bias for the gradient of the sequence KL, relative to its norm, mean over worlds (exact, recursion, shared "
        "parameters). γ = 1 has none, up to rounding.",
    )


def _enumerated(results: Results) -> Picture:
    figure, axes = panels(len(PARTS))
    for axis, part in zip(axes, PARTS, strict=True):
        _variance_lines(results, part, axis)
        axis.set_title(part, fontsize=9)
    axes[0].legend(fontsize=7)
    return Picture(
        figure, "Var g_γ against T with all responses enumerated, for both kinds of parameter sharing (as above)."
    )


def _error(results: Results) -> Picture:
    horizons = list(results.grid.long_horizons)
    indices = sorted({round(i * (len(horizons) - 1) / _SHOWN_ERRORS) for i in range(1, _SHOWN_ERRORS + 1)})
    figure, axes = panels(len(indices), width=3.2)
    for axis, index in zip(axes, indices, strict=True):
        errors = torch.stack([relative_error(results, index, batch).sqrt() for batch in BATCHES])
        for column, (gamma, style) in enumerate(ordered_styles(results.grid.gammas).items()):
            axis.plot(BATCHES, errors[:, column], label=f"γ = {gamma:g}", **style)
        axis.set(xscale="log", yscale="log", xlabel="batch (responses)", title=f"T = {horizons[index]}")
    axes[0].set_ylabel("root mean squared error / |∇KL|")
    axes[0].legend(fontsize=7)
    return Picture(
        figure, "Error of a batch's mean g_γ for the gradient of the sequence KL: bias and variance combined."
    )
