"""Computes means with confidence intervals, paired tests between configurations, and Holm's correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95
RESAMPLES = 2000
_LARGE = 1e4


@dataclass(frozen=True)
class Estimate:
    """A mean and its two-sided 95 % confidence interval.

    Attributes:
        mean: NaN if any value is not finite.
        low, high: The ends of the interval; NaN if the sample has no spread, such as a single value.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        return math.isfinite(self.low) and math.isfinite(self.high)

    def text(self, digits: int = 2) -> str:
        """`1.23 (1.10 to 1.36)`, only the mean without an interval, `not finite` without a mean."""
        if math.isnan(self.mean):
            return "not finite"
        mean, low, high = (
            f"{value:.2g}" if abs(value) >= _LARGE else f"{value:.{digits}f}"
            for value in (self.mean, self.low, self.high)
        )
        return mean if math.isnan(self.low) else f"{mean} ({low} to {high})"

    def clipped(self, least: float, most: float) -> Estimate:
        """The same estimate with its limits clipped to the range of the quantity."""
        return replace(self, low=max(self.low, least), high=min(self.high, most))


@dataclass(frozen=True)
class Paired:
    """A paired t-test.

    Attributes:
        estimate: The mean difference and its t-interval.
        pairs: Number of pairs.
        p: Two-sided p-value of "the mean difference is zero"; NaN without a test.
    """

    estimate: Estimate
    pairs: int
    p: float


def t_interval(values: ArrayLike) -> Estimate:
    """Student's t-interval of the mean of independent `values` f64[n]. Raises ValueError for no values."""
    sample = np.asarray(values, dtype=np.float64)
    if not sample.size:
        raise ValueError("an estimate from no values")
    if not np.isfinite(sample).all():
        return Estimate(math.nan)
    mean, count = float(sample.mean()), len(sample)
    if count == 1:
        return Estimate(mean)
    half = float(stats.t.ppf((1.0 + LEVEL) / 2.0, count - 1)) * float(sample.std(ddof=1)) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half)


def paired_t(differences: NDArray[np.float64]) -> Paired:
    """Student's paired t-test of `differences` f64[pairs].

    A single difference, or equal ones, have no spread: they get neither an interval nor a p-value.
    """
    pairs, mean = len(differences), float(differences.mean())
    spread = float(differences.std(ddof=1)) if pairs > 1 else 0.0
    if spread <= 1e-12 * max(1.0, abs(mean)):
        return Paired(Estimate(mean), pairs, math.nan)
    statistic = mean / (spread / math.sqrt(pairs))
    return Paired(t_interval(differences), pairs, 2.0 * float(stats.t.sf(abs(statistic), pairs - 1)))


def bootstrap(values: NDArray[np.float64], seed: int = 0) -> Estimate:
    """Percentile interval of the mean of `values` f64[seeds], by resampling seeds. Efron 1979."""
    return crossed_bootstrap(values[:, None], seed)


def crossed_bootstrap(values: NDArray[np.float64], seed: int = 0) -> Estimate:
    """Percentile interval of the mean of `values` f64[seeds, problems], by resampling both independently.

    The interval covers other seeds and other problems of the same kind. With one seed it covers problems alone, and
    with one seed and one problem there is none. The pigeonhole bootstrap: Owen 2007, "The pigeonhole bootstrap".
    """
    seeds, problems = values.shape
    mean = float(values.mean())
    if seeds == 1 and problems == 1:
        return Estimate(mean)
    over_seeds = resampling_weights(seeds, seed)
    over_problems = resampling_weights(problems, seed + 1)
    means = ((over_seeds @ values) * over_problems).sum(axis=1)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return Estimate(mean, float(low), float(high))


@cache
def resampling_weights(count: int, seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """f64[resamples, count]: weight of each of `count` items in every resample. Rows sum to 1."""
    drawn = np.random.default_rng(seed).integers(0, count, size=(resamples, count))
    rows = np.repeat(np.arange(resamples), count)
    weights = np.zeros((resamples, count))
    np.add.at(weights, (rows, drawn.ravel()), 1.0 / count)
    return weights


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, which controls the family-wise error rate. NaN stays NaN and is not counted.

    Sorted p_(1) <= ... <= p_(m): adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)). Holm 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: int(np.isfinite(p).sum())]  # NaN sorts last
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(np.arange(len(order), 0, -1) * p[order]))
    return adjusted.tolist()
