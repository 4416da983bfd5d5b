"""Uncertainty over seeds: bootstrap intervals, the paired t-test, Holm's correction. f64 arrays, no scipy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A mean and the interval around it; the ends are NaN where the sample tells no spread."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Paired:
    """A mean paired difference, its t-interval, and the two-sided p-value that it is zero (NaN where not to be had)."""

    estimate: Estimate
    pairs: int
    p: float


def bootstrap(values: NDArray[np.float64], seed: int = 0) -> Estimate:
    """Percentile interval of the mean of `values` f64[seeds], by resampling seeds. Efron 1979."""
    return crossed_bootstrap(values[:, None], seed)


def crossed_bootstrap(values: NDArray[np.float64], seed: int = 0) -> Estimate:
    """Percentile interval of the mean of `values` f64[seeds, problems], by resampling both independently.

    It speaks of other seeds and of other problems of the same kind. One seed gives an interval over problems alone,
    one of each none. The pigeonhole bootstrap: Owen 2007, "The pigeonhole bootstrap".
    """
    seeds, problems = values.shape
    mean = float(values.mean())
    if seeds == 1 and problems == 1:
        return Estimate(mean, math.nan, math.nan)
    over_seeds = resampling_weights(seeds, seed)
    over_problems = resampling_weights(problems, seed + 1)
    means = ((over_seeds @ values) * over_problems).sum(axis=1)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Estimate(mean, float(low), float(high))


@cache
def resampling_weights(count: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """f64[resamples, count]: how often each of `count` things was drawn, over `count`. Rows add up to 1."""
    drawn = np.random.default_rng(seed).integers(0, count, size=(resamples, count))
    rows = np.repeat(np.arange(resamples), count)
    weights = np.zeros((resamples, count))
    np.add.at(weights, (rows, drawn.ravel()), 1.0 / count)
    return weights


def paired_t(differences: NDArray[np.float64]) -> Paired:
    """Student's paired t-test of `differences` f64[pairs].

    The differences of two or more pairs that are all the same tell no spread: no interval and no p-value.
    """
    pairs = len(differences)
    mean = float(differences.mean())
    spread = float(differences.std(ddof=1)) if pairs > 1 else 0.0
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return Paired(Estimate(mean, math.nan, math.nan), pairs, math.nan)
    error = spread / math.sqrt(pairs)
    half = t_quantile(pairs - 1) * error
    return Paired(Estimate(mean, mean - half, mean + half), pairs, t_two_sided(mean / error, pairs - 1))


def t_two_sided(statistic: float, degrees: int) -> float:
    """P(|T| >= |statistic|) under Student's t: I_{v/(v+t^2)}(v/2, 1/2), the regularised incomplete beta function."""
    below = degrees / (degrees + statistic * statistic)
    return float(mpmath.betainc(degrees / 2, 0.5, 0, below, regularized=True))


@cache
def t_quantile(degrees: int, level: float = LEVEL) -> float:
    """t with P(|T| <= t) = level, by bisection."""
    low, high = 0.0, 1.0
    while t_two_sided(high, degrees) > 1.0 - level:
        high *= 2.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if t_two_sided(middle, degrees) > 1.0 - level else (low, middle)
    return (low + high) / 2.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: adjusted p-values hold the family-wise error rate. NaN stays and is not counted.

    Sorted p_(1) <= ... <= p_(m): adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). Holm 1979.
    """
    order = sorted((place for place, p in enumerate(p_values) if not math.isnan(p)), key=lambda place: p_values[place])
    adjusted = [math.nan] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted
