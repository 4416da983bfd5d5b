"""Means over seeds with their uncertainty, and the exponent of a power law."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

_LARGE = 1e4
_PANELS = 2_000
_HALVINGS = 60


@dataclass(frozen=True)
class Estimate:
    """A mean and its two-sided 95 % t-interval over `count` independent values; the limits are nan for one value, and
    all is nan where a value was not finite."""

    mean: float
    low: float
    high: float
    count: int

    def text(self, digits: int = 2) -> str:
        """`1.23 (1.10 to 1.36)`, the mean alone where there is no interval, `not finite` where there is no mean."""
        if math.isnan(self.mean):
            return "not finite"
        middle, low, high = (_shown(value, digits) for value in (self.mean, self.low, self.high))
        return middle if math.isnan(self.low) else f"{middle} ({low} to {high})"

    def cut(self, least: float, most: float) -> Estimate:
        """The same with its limits inside what the quantity can be."""
        return replace(self, low=max(self.low, least), high=min(self.high, most))


def _shown(value: float, digits: int) -> str:
    return f"{value:.2g}" if abs(value) >= _LARGE else f"{value:.{digits}f}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and t-interval of `values`. Raises ValueError for none."""
    if not values:
        raise ValueError("an estimate from no values")
    if not all(map(math.isfinite, values)):
        return Estimate(math.nan, math.nan, math.nan, len(values))
    middle = fmean(values)
    if len(values) == 1:
        return Estimate(middle, math.nan, math.nan, 1)
    half = student_t(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Estimate(middle, middle - half, middle + half, len(values))


def student_t(freedom: int, level: float = 0.95) -> float:
    """t with P(|X| <= t) = level, X of Student's distribution with `freedom` >= 1 degrees of freedom.

    By halving an interval on the integrated density; relative error below 1e-6.
    """
    low, high = 0.0, 1.0
    while _central(high, freedom) < level:
        high *= 2.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _central(middle, freedom) < level else (low, middle)
    return (low + high) / 2.0


def _central(limit: float, freedom: int) -> float:
    """P(|X| <= limit). With x = sqrt(n) tan(u) the density becomes cos(u)^(n-1), smooth on a bounded interval."""
    end = math.atan(limit / math.sqrt(freedom))
    width = end / _PANELS
    inner = sum((4 if i % 2 else 2) * math.cos(i * width) ** (freedom - 1) for i in range(1, _PANELS))
    integral = width / 3.0 * (1.0 + inner + math.cos(end) ** (freedom - 1))
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - 0.5 * math.log(math.pi)
    return 2.0 * math.exp(log_scale) * integral


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The exponent a of y ~ x^a: the least-squares slope of log y on log x. All values above 0, two or more."""
    across, up = [math.log(value) for value in x], [math.log(value) for value in y]
    centre, middle = fmean(across), fmean(up)
    spread = sum((a - centre) ** 2 for a in across)
    return sum((a - centre) * (u - middle) for a, u in zip(across, up, strict=True)) / spread
