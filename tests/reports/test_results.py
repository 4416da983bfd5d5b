"""Aggregation over seeds, and pairing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from opdkit.reports.configurations import configurations
from opdkit.reports.results import Benchmark, benchmarks
from opdkit.reports.runs import Run, read
from tests.reports.folders import SAMPLED, TOPK, config, write_run

Verdicts = dict[int, list[bool]]


def verdicts(right: int, of: int = 20) -> list[bool]:
    return [n < right for n in range(of)]


def compared(tmp_path: Path, topk: Verdicts, sampled: Verdicts) -> Benchmark:
    runs: list[Run] = []
    for name, objective, given in (("topk", TOPK, topk), ("sampled", SAMPLED, sampled)):
        for seed, correct in given.items():
            found = read(write_run(tmp_path / f"{name}-{seed}", config(seed, objective), correct))
            assert isinstance(found, Run)
            runs.append(found)
    (benchmark,) = benchmarks(configurations(runs))
    return benchmark


def test_differences_are_taken_seed_by_seed(tmp_path: Path) -> None:
    # The seeds differ far more from each other than the objectives do: only pairing can see it.
    topk = {0: verdicts(4), 1: verdicts(11), 2: verdicts(18)}
    sampled = {2: verdicts(16), 0: verdicts(3), 1: verdicts(9), 7: verdicts(20)}
    (difference,) = compared(tmp_path, topk, sampled).differences
    named = {one.configuration.label: one for one in (difference.first, difference.second)}
    sign = 1 if difference.first is named["TopK"] else -1
    assert difference.pairs == 3
    assert sign * difference.estimate.mean == pytest.approx((1 + 2 + 2) / 3 / 20)
    # t = mean / (sd / sqrt 3) = 1.6667 / 0.33333 = 5 with 2 degrees of freedom: p = 0.0378.
    assert difference.p == pytest.approx(0.03775, abs=1e-4)
    assert difference.adjusted == difference.p


def test_results_are_means_over_seeds_with_an_interval_over_seeds_and_problems(tmp_path: Path) -> None:
    benchmark = compared(tmp_path, {0: verdicts(10), 1: verdicts(14)}, {0: verdicts(2), 1: verdicts(2)})
    topk = next(one for one in benchmark.results if one.configuration.label == "TopK")
    assert topk.by_seed == {"0": 0.5, "1": 0.7}
    assert topk.accuracy.mean == pytest.approx(0.6)
    assert topk.over_problems
    assert topk.accuracy.low < 0.5 < 0.7 < topk.accuracy.high
    assert (topk.before, topk.teacher, topk.seconds) == (0.1, 1.0, 60.0)


def test_one_seed_is_compared_over_problems_and_gets_no_p_value(tmp_path: Path) -> None:
    (difference,) = compared(tmp_path, {0: verdicts(15)}, {0: verdicts(5)}).differences
    assert difference.over_problems
    assert difference.estimate.low < 0.5 < difference.estimate.high
    assert math.isnan(difference.p)
    assert math.isnan(difference.adjusted)


def test_no_seed_in_common_is_not_compared(tmp_path: Path) -> None:
    benchmark = compared(tmp_path, {0: verdicts(3)}, {1: verdicts(5)})
    assert benchmark.differences == []
    assert benchmark.uncompared == [("SampledToken", "TopK")]


def test_other_problems_are_not_paired_over_problems(tmp_path: Path) -> None:
    (difference,) = compared(tmp_path, {0: verdicts(15)}, {0: verdicts(5, of=10)}).differences
    assert not difference.over_problems
    assert math.isnan(difference.estimate.low)
