"""Computes pass@k, majority vote and bootstrap intervals over problems."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opdkit.errors import UserError

_RESAMPLES_AT_A_TIME = 500


def pass_at_k(correct: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """Unbiased estimate of the probability that at least one of k samples is correct, from n >= k samples.

        pass@k = 1 - C(n - c, k) / C(n, k) = 1 - prod_{i=0}^{k-1} (n - c - i) / (n - i)

    correct bool[problems, n] with c true values per row. Returns f64[problems].
    Raises UserError if n < k. Chen et al. 2021, "Evaluating large language models trained on code", eq. 1.
    """
    samples = correct.shape[1]
    if not 1 <= k <= samples:
        raise UserError(f"pass@{k} of n_samples={samples}; allowed: k from 1 to n_samples")
    steps = np.arange(k)
    wrong = samples - correct.sum(axis=1, dtype=np.int64)
    factors = np.maximum(wrong[:, None] - steps, 0) / (samples - steps)
    return 1.0 - np.prod(factors, axis=1)


def powers_of_two(limit: int) -> list[int]:
    """1, 2, 4, ... up to `limit`."""
    return [1 << exponent for exponent in range(limit.bit_length())]


def majority_correct(votes: Sequence[str | None], correct: Sequence[bool]) -> float:
    """Score in [0, 1] of the most common answer to one problem.

    votes: each sample's answer in normal form, None for no answer (no vote); correct: its verdict.
    A tie counts as the mean over the tied answers, the expectation of a random choice; no votes at all count 0.
    """
    counts: dict[str, int] = {}
    right: dict[str, bool] = {}
    for vote, grade in zip(votes, correct, strict=True):
        if vote is not None:
            counts[vote] = counts.get(vote, 0) + 1
            right.setdefault(vote, grade)
    if not counts:
        return 0.0
    most = max(counts.values())
    winners = [vote for vote, count in counts.items() if count == most]
    return sum(right[vote] for vote in winners) / len(winners)


def bootstrap_interval(
    values: NDArray[np.float64], seed: int, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`, one value in [0, 1] per problem.

    Seeded, so the same values give the same interval. If all values are 0, or all 1, the bootstrap interval would
    collapse: the exact binomial interval is returned instead. If all equal another value, it has zero width.
    Raises ValueError for no values. Efron 1979; Clopper and Pearson 1934.
    """
    return stratified_interval([values], seed, level, resamples)


def stratified_interval(
    strata: Sequence[NDArray[np.float64]], seed: int, level: float = 0.95, resamples: int = 10_000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of all values, resampled within strata of fixed size.

    Seeded; all 0 or all 1 as in `bootstrap_interval`. Raises ValueError for a stratum without values. Efron and
    Tibshirani 1993, section 8.3.
    """
    if not strata or any(len(values) == 0 for values in strata):
        raise ValueError("an interval of no values")
    everything = np.concatenate(strata)
    if np.all(everything == 0.0) or np.all(everything == 1.0):
        return _exact_at_an_end(float(everything[0]), len(everything), level)
    generator = np.random.default_rng(seed)
    total = np.zeros(resamples)
    for values in strata:
        for start in range(0, resamples, _RESAMPLES_AT_A_TIME):
            stop = min(start + _RESAMPLES_AT_A_TIME, resamples)
            chosen = generator.integers(0, len(values), size=(stop - start, len(values)))
            total[start:stop] += values[chosen].sum(axis=1)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(total / len(everything), [tail, 1.0 - tail])
    return float(low), float(high)


def standard_error(strata: Sequence[NDArray[np.float64]]) -> float | None:
    """Stratified standard error of the mean of all values: sqrt(sum_h n_h s_h^2) / n.

    None if a stratum has a single value, whose variance is unknown. Cochran 1977, theorem 5.3.
    """
    if not strata or any(len(values) < 2 for values in strata):
        return None
    total = sum(len(values) * float(values.var(ddof=1)) for values in strata)
    return total**0.5 / sum(len(values) for values in strata)


def _exact_at_an_end(value: float, count: int, level: float) -> tuple[float, float]:
    """Closed-form Clopper-Pearson interval of `count` outcomes that are all 0 or all 1."""
    rest = ((1.0 - level) / 2.0) ** (1.0 / count)
    return (0.0, 1.0 - rest) if value == 0.0 else (rest, 1.0)
