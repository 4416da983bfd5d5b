"""The pictures of the control study."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from opdkit.intervals import t_interval
from opdkit.study.control.findings import Results, measured_iterations
from opdkit.study.control.settings import TASKS
from opdkit.study.control.students import EVALUATE_EVERY
from opdkit.study.drawing import looks, panels
from opdkit.study.outcome import Picture

_SMOOTHED = 25
_MAPPED = (0.0, 0.5, 1.0)
_EDGE = 6.0
_BINS = 48


def draw(results: Results) -> dict[str, Picture]:
    """By the stem of their file."""
    return {
        "variance": _variance(results),
        "same_rollouts": _same_rollouts(results),
        "visits": _visits(results),
        "success": _success(results),
        "learning": _learning(results),
    }


def smoothed(values: Tensor, width: int = _SMOOTHED) -> Tensor:
    """Running median over the first axis; the ends use what there is of the window."""
    half = width // 2
    return torch.stack([values[max(0, i - half) : i + half + 1].median(0).values for i in range(len(values))])


def _lines(axis: Any, results: Results, iterations: list[int], found: Tensor) -> None:
    """Mean over seeds of a log10 curve, and the range of the seeds. found f64[iterations, gammas, seeds].

    A student that went to where float32 sees no move has no variance at all; it is left out of the mean from there.
    """
    found = torch.where(found.isfinite(), found, math.nan)
    for column, (gamma, look) in enumerate(looks(results.gammas).items()):
        curve = found[:, column]
        style = look | {"markevery": max(len(iterations) // 8, 1)}
        axis.plot(iterations, 10 ** curve.nanmean(1), label=f"γ = {gamma:g}", **style)
        low, high = 10 ** curve.min(1).values, 10 ** curve.max(1).values
        axis.fill_between(iterations, low, high, color=look["color"], alpha=0.15, linewidth=0)
    axis.set_xlabel("iteration")
    if found.isfinite().any():  # else every student diverged, and there is nothing to scale
        axis.set_yscale("log")


def _variance(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=4.6, height=3.6)
    for place, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        found = smoothed(results.variance(place))
        _lines(axis, results, [1 + place + len(TASKS) * i for i in range(len(found))], found)
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
    for place, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        found = results.same_policy(place)
        ratio = smoothed(found - found[:, [results.column(0.0)]], 5)
        _lines(axis, results, measured_iterations(results, place), ratio)
        axis.set_title(f"{task.name} task", fontsize=9)
    axes[0].set_ylabel("Var g_γ / Var g_0, same rollouts")
    axes[0].legend(fontsize=7, ncols=2)
    return Picture(
        figure,
        "The same where only γ differs: every γ's estimator on the rollouts of the γ = 0 student, over that student's.",
    )


def _visits(results: Results) -> Picture:
    shown = [gamma for gamma in _MAPPED if gamma in results.gammas]
    figure, axes = panels(1 + len(shown), len(TASKS), width=2.5, height=2.3)
    image: Any = None
    for place, task in enumerate(TASKS):
        maps = [("teachers", results.numbers["teacher_positions"][place, 0])]
        maps += [
            (f"students, γ = {gamma:g}", results.numbers["student_positions"][place, results.column(gamma)])
            for gamma in shown
        ]
        for column, (title, position) in enumerate(maps):
            axis = axes[place * (1 + len(shown)) + column]
            image = _heat(axis, position)
            axis.axhline(task.goal, color="white", linewidth=0.9, linestyle="--")
            axis.set_title(f"{title}\n{task.name} task", fontsize=8)
            axis.grid(visible=False)
            if place == len(TASKS) - 1:
                axis.set_xlabel("step")
            if column == 0:
                axis.set_ylabel("position")
    figure.colorbar(image, ax=axes, label="share of episodes at that step", shrink=0.8)
    return Picture(
        figure,
        "Where evaluation episodes go, all seeds together; dashed: the goal. Positions beyond ±6 are counted at the "
        "edge; episodes whose positions are no numbers are left out.",
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
    for place, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        for column, look in enumerate(looks(results.gammas).values()):
            by_seed = success[place, column].tolist()
            found = t_interval(by_seed).clipped(0.0, 1.0)
            if found.has_interval:
                axis.plot([column, column], [found.low, found.high], color=look["color"], linewidth=2.0)
            axis.plot(column, found.mean, look["marker"], color=look["color"], markersize=7)
            axis.plot([column + 0.18] * len(by_seed), by_seed, ".", color="#555555", markersize=4)
        axis.set_xticks(range(len(results.gammas)), [f"{gamma:g}" for gamma in results.gammas])
        axis.set(xlabel="γ", ylim=(-0.03, 1.03), title=f"{task.name} task")
    axes[0].set_ylabel("share of episodes that end at the goal")
    return Picture(
        figure, "Success after training: mean and 95 % t-interval over seeds (cut to 0 and 1), and each seed (grey)."
    )


def _learning(results: Results) -> Picture:
    figure, axes = panels(len(TASKS), width=4.6)
    found = results.success_while_learning()
    iterations = [EVALUATE_EVERY * (i + 1) for i in range(len(found))]
    for place, (axis, task) in enumerate(zip(axes, TASKS, strict=True)):
        for column, (gamma, look) in enumerate(looks(results.gammas).items()):
            curve = found[:, place, column]
            style = look | {"markevery": max(len(iterations) // 8, 1)}
            axis.plot(iterations, curve.mean(1), label=f"γ = {gamma:g}", **style)
            axis.fill_between(
                iterations, curve.min(1).values, curve.max(1).values, color=look["color"], alpha=0.15, linewidth=0
            )
        axis.set(xlabel="iteration", ylim=(-0.03, 1.03))
        axis.set_title(f"{task.name} task", fontsize=9)
    axes[0].set_ylabel("share of episodes that end at the goal")
    axes[0].legend(fontsize=7)
    return Picture(figure, "Success while learning: mean over seeds, the seeds' range shaded.")
