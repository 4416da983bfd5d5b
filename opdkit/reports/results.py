"""Computes results by configuration, and paired differences between configurations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from opdkit.intervals import Estimate, bootstrap, crossed_bootstrap, holm, paired_t
from opdkit.reports.configurations import Configuration
from opdkit.reports.runs import Run, number


@dataclass(frozen=True)
class Result:
    """One configuration on one benchmark, finished runs only. Accuracies are in [0, 1]; `seconds` is the mean per run.

    by_seed: seed -> accuracy, runs of one seed averaged. over_problems: the interval also covers problems.
    """

    configuration: Configuration
    index: int
    runs: Sequence[Run]
    by_seed: dict[str, float]
    accuracy: Estimate
    over_problems: bool
    before: float
    teacher: float
    truncated: float
    tokens: float
    seconds: float


@dataclass(frozen=True)
class Difference:
    """`first` minus `second` on the same seeds. `adjusted`: p after Holm's correction over all comparisons.

    over_problems: there is only one seed, and the interval is over problems.
    """

    first: Result
    second: Result
    pairs: int
    estimate: Estimate
    p: float
    adjusted: float
    over_problems: bool


@dataclass(frozen=True)
class Benchmark:
    """All results on one benchmark."""

    name: str
    results: Sequence[Result]
    differences: Sequence[Difference]
    uncompared: Sequence[tuple[str, str]]


def benchmarks(groups: Sequence[Configuration]) -> list[Benchmark]:
    """One for each benchmark with a finished run, in alphabetical order."""
    names = sorted({run.benchmark for group in groups for run in group.runs if run.finished and run.benchmark})
    return [_benchmark(name, groups) for name in names]


def _benchmark(name: str, groups: Sequence[Configuration]) -> Benchmark:
    results: list[Result] = []
    for index, group in enumerate(groups):
        runs = [run for run in group.runs if run.finished and run.benchmark == name]
        if runs:
            results.append(_result(group, index, runs))
    differences, uncompared = _differences(results)
    return Benchmark(name, results, differences, uncompared)


def _result(group: Configuration, index: int, runs: Sequence[Run]) -> Result:
    seeds = list(dict.fromkeys(run.seed for run in runs))
    by_seed = {
        seed: fmean(run.evaluations["after"].accuracy for run in runs if run.seed == seed) for seed in seeds
    }  # fmt: skip
    matrix = _matrix(runs, seeds)
    estimate = bootstrap(np.array(list(by_seed.values()))) if matrix is None else crossed_bootstrap(matrix)
    return Result(
        configuration=group,
        index=index,
        runs=runs,
        by_seed=by_seed,
        accuracy=Estimate(fmean(by_seed.values()), estimate.low, estimate.high),
        over_problems=matrix is not None,
        before=finite_mean([run.evaluations["before"].accuracy for run in runs if "before" in run.evaluations]),
        teacher=finite_mean([run.evaluations["teacher"].accuracy for run in runs if "teacher" in run.evaluations]),
        truncated=finite_mean([number(run.evaluations["after"].summary.get("truncated_fraction")) for run in runs]),
        tokens=finite_mean([number(run.evaluations["after"].summary.get("response_tokens_mean")) for run in runs]),
        seconds=finite_mean([run.seconds for run in runs]),
    )


def finite_mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN if there are none."""
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else math.nan


def _matrix(runs: Sequence[Run], seeds: Sequence[str]) -> NDArray[np.float64] | None:
    """f64[seeds, problems], the accuracy of each; None unless all runs answered the same problems."""
    answered = [run.evaluations["after"].problems for run in runs]
    problems = list(answered[0])
    if not problems or any(by_problem.keys() != answered[0].keys() for by_problem in answered):
        return None
    rows = [
        np.mean(
            [
                [by_problem[p] for p in problems]
                for run, by_problem in zip(runs, answered, strict=True)
                if run.seed == seed
            ],
            0,
        )
        for seed in seeds
    ]
    return np.array(rows)


def _differences(results: Sequence[Result]) -> tuple[list[Difference], list[tuple[str, str]]]:
    """All pairs of configurations with a common seed, the better first; and the pairs without one."""
    differences: list[Difference] = []
    uncompared: list[tuple[str, str]] = []
    for one, other in combinations(results, 2):
        first, second = (one, other) if one.accuracy.mean >= other.accuracy.mean else (other, one)
        if first.by_seed.keys() & second.by_seed.keys():
            differences.append(_difference(first, second))
        else:
            uncompared.append((first.configuration.label, second.configuration.label))
    adjusted = holm([difference.p for difference in differences])
    corrected = [
        Difference(d.first, d.second, d.pairs, d.estimate, d.p, p, d.over_problems)
        for d, p in zip(differences, adjusted, strict=True)
    ]
    return sorted(corrected, key=lambda d: (math.isnan(d.p), d.p, -d.estimate.mean)), uncompared


def _difference(first: Result, second: Result) -> Difference:
    seeds = [seed for seed in first.by_seed if seed in second.by_seed]
    paired = paired_t(np.array([first.by_seed[seed] - second.by_seed[seed] for seed in seeds]))
    estimate = paired.estimate
    over_problems = False
    if len(seeds) == 1:
        rows = [_matrix([run for run in result.runs if run.seed in seeds], seeds) for result in (first, second)]
        same = _problems(first, seeds[0]) == _problems(second, seeds[0])
        if rows[0] is not None and rows[1] is not None and same:
            interval = crossed_bootstrap(rows[0] - rows[1])
            estimate, over_problems = Estimate(estimate.mean, interval.low, interval.high), True
    return Difference(first, second, paired.pairs, estimate, paired.p, math.nan, over_problems)


def _problems(result: Result, seed: str) -> list[str]:
    return next(list(run.evaluations["after"].problems) for run in result.runs if run.seed == seed)
