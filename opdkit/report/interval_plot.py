"""One line of a table as a picture: a mean, its interval, its seeds, on an axis that all lines share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from markupsafe import Markup

from opdkit.intervals import Estimate
from opdkit.report.charts import Axis, linear_axis
from opdkit.report.results import Difference, Result
from opdkit.report.svg import marker

WIDTH, HEIGHT = 240, 26
_MARGIN = 7


def result_axis(results: Sequence[Result]) -> Axis:
    """The axis of a benchmark's results."""
    values = [
        value
        for result in results
        for value in (*result.by_seed.values(), *_ends(result.accuracy), result.before, result.teacher)
    ]
    return _axis(values)


def difference_axis(differences: Sequence[Difference]) -> Axis:
    """The axis of a benchmark's differences; zero is on it."""
    axis = _axis([0.0, *(value for one in differences for value in (one.estimate.mean, *_ends(one.estimate)))])
    return replace(axis, ticks=[(value, label.removesuffix(" %")) for value, label in axis.ticks])


def _ends(estimate: Estimate) -> tuple[float, float]:
    return estimate.low, estimate.high


def _axis(values: Sequence[float]) -> Axis:
    finite = [value for value in values if math.isfinite(value)]
    return linear_axis(min(finite), max(finite), percent=True, count=3)


def _x(axis: Axis, value: float) -> float:
    return _MARGIN + (WIDTH - 2 * _MARGIN) * float(axis.position(np.array(value)))


def scale(axis: Axis) -> Markup:
    """The ticks above the strips."""
    last = len(axis.ticks) - 1
    texts: list[Markup] = []
    for place, (value, label) in enumerate(axis.ticks):
        side, shift = ("start", -_MARGIN) if place == 0 else ("end", _MARGIN) if place == last else ("middle", 0)
        text = Markup('<text class="tick {}" x="{:.1f}" y="11">{}</text>')
        texts.append(text.format(side, _x(axis, value) + shift, label))
    svg = Markup('<svg class="strip" viewBox="0 0 {} 14" aria-hidden="true">{}</svg>')
    return svg.format(WIDTH, Markup("").join(texts))


def result_strip(result: Result, axis: Axis, colour: str) -> Markup:
    """Seeds as small rings, mean and interval, before and teacher as thin marks."""
    parts = [_upright(name, axis, value) for name, value in (("before", result.before), ("teacher", result.teacher))]
    if len(result.by_seed) > 1:
        ring = Markup('<circle class="seed" cx="{:.1f}" cy="{}" r="2.6"/>')
        parts += [ring.format(_x(axis, value), HEIGHT // 2) for value in result.by_seed.values()]
    return _strip(result.accuracy, axis, colour, Markup("").join(parts))


def difference_strip(difference: Difference, axis: Axis) -> Markup:
    """Mean and interval of a difference, and the line at zero."""
    return _strip(difference.estimate, axis, "plain", _upright("zero", axis, 0.0))


def _upright(name: str, axis: Axis, value: float) -> Markup:
    if not math.isfinite(value):
        return Markup("")
    return Markup('<path class="{}" d="M{:.1f} 4V{}"/>').format(name, _x(axis, value), HEIGHT - 4)


def _strip(estimate: Estimate, axis: Axis, colour: str, behind: Markup) -> Markup:
    middle = HEIGHT // 2
    grid = Markup("").join(
        Markup('<path class="grid" d="M{:.1f} 0V{}"/>').format(_x(axis, value), HEIGHT) for value, _ in axis.ticks
    )
    bar = Markup("")
    if math.isfinite(estimate.low) and math.isfinite(estimate.high):
        left, right = _x(axis, estimate.low), _x(axis, estimate.high)
        bar = Markup('<path class="interval" d="M{:.1f} {}H{:.1f}"/>').format(left, middle, max(right, left + 0.5))
    mark = Markup('<path class="mark" transform="translate({:.1f} {})" d="{}"/>').format(
        _x(axis, estimate.mean), middle, marker(colour)
    )
    return Markup('<svg class="strip {}" viewBox="0 0 {} {}" aria-hidden="true">{}{}{}{}</svg>').format(
        colour, WIDTH, HEIGHT, grid, behind, bar, mark
    )
