"""Draws the figures of the control study."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from opdkit.charts.axes import draw_band
from opdkit.charts.style import ordered_styles, panels, styled
from opdkit.intervals import t_interval
from opdkit.study.control.findings import Results, measured_iterations
from opdkit.study.control.settings import TASKS
from opdkit.study.control.students import EVALUATE_EVERY
from opdkit.study.outcome import Picture

_SMOOTHED = 25
_MAPPED = (0.0, 0.5, 1.0)
_EDGE = 6.0
_BINS = 48


def draw(results: Results) -> dict[str, Picture]:
    """Figures by file stem."""
    with styled():
        return {
            "variance": _variance(results),
            "same_rollouts": _same_rollouts(results),
            "visits": _visits(results),
            "success": _success(results),
            "learning": _learning(results),
        }


def smoothed(values: Tensor, width: int = _SMOOTHED) -> Tensor:
    """Running median over the first axis; the window is truncated at the ends."""
    half = width // 2
    return torch.stack([values[max(0, i - half) : i + half + 1].median(0).values for i in range(len(values))])


def _draw_logs(axis: Any, results: Results, iterations: list[int], logs: Tensor) -> None:
    """The mean over seeds of a log10 curve, and the range of the seeds. logs f64[iterations, gammas, seeds].

    A student whose moves fall below float32's resolution has no variance and is excluded from the mean from there on.
    """
    logs = torch.where(logs.isfinite(), logs, math.nan)
    for column, (gamma, style) in enumerate(ordered_styles(results.gammas).items()):
        curve = logs[:, column]
        mean, low, high = 10 ** curve.nanmean(1), 10 ** curve.min(1).values, 10 ** curve.max(1).values
        every = max(len(iterations) // 8, 1)
        draw_band(axis, iterations, mean, low, high, label=f"γ = {gamma:g}", markevery=every, **style)
    axis.set_xlabel("iteration")
    if logs.isfinite().any():  # otherwise every student diverged
        axis.set_yscale("log")


def _variance(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=4.6, height=3.6)
    for index, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        logs = smoothed(results.variance(index))
        _draw_logs(axis, results, [1 + index + len(TASKS) * i for i in range(len(logs))], logs)
        axis.set_title(f"{task.name} task", fontsize=9)
    axes[0].set_ylabel("gradient variance, output layer (nats²)")
    axes[0].legend(fontsize=7, ncols=2)
    return Picture(
        figure,
        f"Gradient variance of each student on its own rollouts: running median over {_SMOOTHED} of the task's "
        "iterations, geometric mean over seeds, the seeds' range shaded.",
    )


def _same_rollouts(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=4.6, height=3.6)
    for index, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        logs = results.same_policy(index)
        ratio = smoothed(logs - logs[:, [results.column(0.0)]], 5)
        _draw_logs(axis, results, measured_iterations(results, index), ratio)
        axis.set_title(f"{task.name} task", fontsize=9)
    axes[0].set_ylabel("Var g_γ / Var g_0, same rollouts")
    axes[0].legend(fontsize=7, ncols=2)
    return Picture(
        figure,
        "The same with only γ differing: each γ's estimator on the γ = 0 student's rollouts, over that of γ = 0.",
    )


def _visits(results: Results) -> Picture:
    shown = [gamma for gamma in _MAPPED if gamma in results.gammas]
    figure, axes = panels(1 + len(shown), len(TASKS), width=2.5, height=2.3)
    image: Any = None
    for index, task in enumerate(TASKS):
        maps = [("teachers", results.numbers["teacher_positions"][index, 0])]
        maps += [
            (f"students, γ = {gamma:g}", results.numbers["student_positions"][index, results.column(gamma)])
            for gamma in shown
        ]
        for column, (title, position) in enumerate(maps):
            axis = axes[index * (1 + len(shown)) + column]
            image = _heat(axis, position)
            axis.axhline(task.goal, color="white", linewidth=0.9, linestyle="--")
            axis.set_title(f"{title}\n{task.name} task", fontsize=8)
            axis.grid(visible=False)
            if index == len(TASKS) - 1:
                axis.set_xlabel("step")
            if column == 0:
                axis.set_ylabel("position")
    figure.colorbar(image, ax=axes, label="share of episodes at that step", shrink=0.8)
    return Picture(
        figure,
        "Positions in evaluation episodes, all seeds pooled; dashed: the goal. Positions beyond ±6 are counted at the "
        "edge; episodes with non-finite positions are excluded.",
    )


def _heat(axis: Any, position: Tensor) -> Any:
    """position f32[seeds, N, T + 1]."""
    paths = position.flatten(0, 1)
    paths = paths[~paths.isnan().any(1)].clamp(-_EDGE + 1e-6, _EDGE - 1e-6)
    counts = torch.stack([torch.histc(paths[:, t], _BINS, -_EDGE, _EDGE) for t in range(paths.shape[1])], 1)
    return axis.imshow(
        (counts / max(len(paths), 1)).numpy(), origin="lower", aspect="auto", cmap="cividis", vmin=0.0, vmax=0.5,
        extent=(-0.5, paths.shape[1] - 0.5, -_EDGE, _EDGE), interpolation="nearest",
    )  # fmt: skip


def _success(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=3.6)
    success = results.success("student")
    for index, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        for column, style in enumerate(ordered_styles(results.gammas).values()):
            by_seed = success[index, column].tolist()
            estimate = t_interval(by_seed).clipped(0.0, 1.0)
            if estimate.has_interval:
                axis.plot([column, column], [estimate.low, estimate.high], color=style["color"], linewidth=2.0)
            axis.plot(column, estimate.mean, style["marker"], color=style["color"], markersize=7)
            axis.plot([column + 0.18] * len(by_seed), by_seed, ".", color="#555555", markersize=4)
        axis.set_xticks(range(len(results.gammas)), [f"{gamma:g}" for gamma in results.gammas])
        axis.set(xlabel="γ", ylim=(-0.03, 1.03), title=f"{task.name} task")
    axes[0].set_ylabel("share of episodes that end at the goal")
    return Picture(
        figure, "Success after training: mean and 95 % t-interval over seeds (within 0 to 1), and each seed (grey)."
    )


def _learning(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=4.6)
    success = results.success_while_learning()
    iterations = [EVALUATE_EVERY * (i + 1) for i in range(len(success))]
    for index, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        for column, (gamma, style) in enumerate(ordered_styles(results.gammas).items()):
            curve = success[:, index, column]
            low, high, every = curve.min(1).values, curve.max(1).values, max(len(iterations) // 8, 1)
            draw_band(axis, iterations, curve.mean(1), low, high, label=f"γ = {gamma:g}", markevery=every, **style)
        axis.set(xlabel="iteration", ylim=(-0.03, 1.03))
        axis.set_title(f"{task.name} task", fontsize=9)
    axes[0].set_ylabel("share of episodes that end at the goal")
    axes[0].legend(fontsize=7)
    return Picture(figure, "Success while learning: mean over seeds, the seeds' range shaded.")
