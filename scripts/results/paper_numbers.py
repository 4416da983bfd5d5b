"""The numbers of an ablation: runs matched to cases by their configuration, differences by seed, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import fmean, median
from typing import Any

import numpy as np
from paper_ablations import ALIKE, FALL_STEPS, LEAST_SEEDS, ORDER, SMALL, Ablation, Case, Claim

from opdkit.config.compose import Source, compose, resolve
from opdkit.intervals import Paired, holm, paired_t
from opdkit.reports.configurations import Configuration, flatten
from opdkit.reports.results import Result, benchmarks, finite_mean
from opdkit.reports.runs import Run

_TIMES = ("time/rollout_s", "time/teacher_s", "time/update_s")
_LAST = 5


@dataclass(frozen=True)
class Found:
    """A case with its runs. `result` is None until a run has finished."""

    case: Case
    runs: Sequence[Run]
    result: Result | None

    @property
    def seeds(self) -> Mapping[str, float]:
        """Seed -> accuracy in [0, 1]."""
        return self.result.by_seed if self.result else {}

    def each(self, metric: str) -> dict[str, float]:
        """Seed -> geometric mean over the steps of a positive metric, finished runs only."""
        means: dict[str, float] = {}
        for run in self.result.runs if self.result else ():
            curve = run.curves.get(metric)
            if curve is not None and (good := curve.values[curve.values > 0]).size:
                means[run.seed] = float(np.exp(np.log(good).mean()))
        return means

    def last(self, metric: str) -> float:
        """Mean over runs of a metric's last value."""
        curves = [run.curves.get(metric) for run in (self.result.runs if self.result else ())]
        return finite_mean([float(curve.values[-1]) for curve in curves if curve is not None])

    @property
    def step_seconds(self) -> float:
        """Median over all steps of all runs: rollout, teacher and update, without evaluations."""
        seconds = [
            value
            for run in (self.result.runs if self.result else ())
            if all(name in run.curves for name in _TIMES)
            for value in sum(run.curves[name].values for name in _TIMES).tolist()  # pyright: ignore
        ]
        return median(seconds) if seconds else math.nan


@dataclass(frozen=True)
class Told:
    """A difference, first minus second, in points; `adjusted`: p after Holm over the ablation's pairs."""

    first: str
    second: str
    paired: Paired
    adjusted: float


@dataclass(frozen=True)
class Verdict:
    """One claim's verdict, and its evidence."""

    claim: Claim
    verdict: str
    measured: str


def find(ablation: Ablation, runs: Sequence[Run], flat: Mapping[str, Mapping[str, Any]]) -> list[Found]:
    """Every case with its runs from any folder. flat: run's name -> flattened configuration."""
    case_runs: list[Found] = []
    for case in ablation.cases:
        wanted = planned(ablation.experiment, case.overrides)
        mine = [run for run in runs if _same(flat[run.name], wanted)]
        measured = benchmarks([Configuration(case.name, {}, mine)]) if mine else []
        case_runs.append(Found(case, mine, measured[0].results[0] if measured else None))
    return case_runs


@cache
def planned(experiment: str, overrides: tuple[str, ...]) -> Mapping[str, Any]:
    """The flattened configuration of a case."""
    return flatten(resolve(compose(Source("train"), [f"experiment={experiment}", *overrides])))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the common keys agree; a key added later has its default in earlier runs."""
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def differences(ablation: Ablation, cases: Mapping[str, Found]) -> list[Told]:
    """Comparisons of the ablation's pairs with common seeds."""
    pairs: list[tuple[str, str, Paired]] = []
    for first, second in ablation.pairs:
        ours, theirs = cases[first].seeds, cases[second].seeds
        shared = [seed for seed in ours if seed in theirs]
        if shared:
            points = np.array([100 * (ours[seed] - theirs[seed]) for seed in shared])
            pairs.append((first, second, paired_t(points)))
    adjusted = holm([paired.p for _, _, paired in pairs])
    return [Told(first, second, paired, p) for (first, second, paired), p in zip(pairs, adjusted, strict=True)]


def judge(claim: Claim, cases: Mapping[str, Found], told: Sequence[Told]) -> Verdict:
    """The verdict by the rules in `paper_ablations.RULES`."""
    if claim.rule == "no_number":
        return Verdict(claim, "not testable", "")
    if claim.rule == "collapse":
        return _collapse(claim, cases[claim.first])
    if claim.rule in ("better", "alike"):
        return _compared(claim, told)
    if claim.rule == "unstable":
        return _unstable(claim, cases)
    return _variance(claim, cases)


def _compared(claim: Claim, told: Sequence[Told]) -> Verdict:
    both = {claim.first, claim.second}
    one = next((one for one in told if {one.first, one.second} == both), None)
    if one is None or one.paired.pairs < LEAST_SEEDS:
        return _too_few(claim, one.paired.pairs if one else 0)
    sign = 1.0 if one.first == claim.first else -1.0
    value = one.paired.estimate
    low, high = sorted((sign * value.low, sign * value.high))
    measured = f"{claim.first} − {claim.second}: {points(sign * value.mean)} ({points(low)} to {points(high)})"
    within = SMALL if claim.rule == "better" else ALIKE
    inside = -within < low and high < within
    clear = one.adjusted < 0.05
    if claim.rule == "better":
        verdict = "reproduced" if clear and value.mean * sign > 0 else "not reproduced" if clear or inside else ""
    else:
        verdict = "reproduced" if inside else "not reproduced" if clear else ""
    return Verdict(claim, verdict or "not testable", measured)


def _collapse(claim: Claim, found: Found) -> Verdict:
    if found.result is None or len(found.seeds) < LEAST_SEEDS:
        return _too_few(claim, len(found.seeds))
    before, after = found.result.before, list(found.seeds.values())
    measured = f"{100 * before:.1f} % before, {100 * min(after):.1f} to {100 * max(after):.1f} % after"
    if all(value < before for value in after) and fmean(after) < before / 2:
        return Verdict(claim, "reproduced", measured)
    return Verdict(claim, "not reproduced" if all(value > before for value in after) else "not testable", measured)


def _variance(claim: Claim, cases: Mapping[str, Found]) -> Verdict:
    ours, theirs = (cases[name].each("train/grad_variance") for name in (claim.first, claim.second))
    shared = [seed for seed in ours if seed in theirs]
    if len(shared) < LEAST_SEEDS:
        return _too_few(claim, len(shared))
    value = paired_t(np.array([math.log10(ours[seed] / theirs[seed]) for seed in shared])).estimate
    measured = f"10^{value.mean:.2f} (10^{value.low:.2f} to 10^{value.high:.2f}) times the variance"
    limit = 0.0 if claim.rule == "variance_rises" else ORDER
    verdict = "reproduced" if value.low > limit else "not reproduced" if value.high < limit else "not testable"
    return Verdict(claim, verdict, measured)


def falls(found: Found) -> dict[str, float]:
    """Seed -> the largest drop of the averaged training reward below its running maximum, in points."""
    by_seed: dict[str, float] = {}
    for run in found.result.runs if found.result else ():
        curve = run.curves.get("rollout/reward_mean")
        if curve is not None and len(curve.values) >= FALL_STEPS:
            level = np.convolve(curve.values, np.full(FALL_STEPS, 1 / FALL_STEPS), mode="valid")
            by_seed[run.seed] = 100 * float((np.maximum.accumulate(level) - level).max())
    return by_seed


def spikes(found: Found) -> dict[str, float]:
    """Seed -> the base-10 logarithm of the largest gradient norm over the median."""
    by_seed: dict[str, float] = {}
    for run in found.result.runs if found.result else ():
        curve = run.curves.get("train/grad_norm")
        if curve is not None and (good := curve.values[curve.values > 0]).size:
            by_seed[run.seed] = float(np.log10(good.max() / np.median(good)))
    return by_seed


def _unstable(claim: Claim, cases: Mapping[str, Found]) -> Verdict:
    tests: list[Paired] = []
    for measure in (falls, spikes):
        ours, theirs = measure(cases[claim.first]), measure(cases[claim.second])
        shared = [seed for seed in ours if seed in theirs]
        if len(shared) < LEAST_SEEDS:
            return _too_few(claim, len(shared))
        tests.append(paired_t(np.array([ours[seed] - theirs[seed] for seed in shared])))
    adjusted = holm([test.p for test in tests])
    clear = {np.sign(test.estimate.mean) for test, p in zip(tests, adjusted, strict=True) if p < 0.05}
    verdict = {frozenset({1.0}): "reproduced", frozenset({-1.0}): "not reproduced"}.get(
        frozenset(clear), "not testable"
    )
    fall, spike = (test.estimate for test in tests)
    measured = (
        f"{claim.first} − {claim.second}: fall {points(fall.mean)} ({points(fall.low)} to {points(fall.high)}); "
        f"spike {signed(spike.mean)} ({signed(spike.low)} to {signed(spike.high)})"
    )
    return Verdict(claim, verdict, measured)


def _too_few(claim: Claim, seeds: int) -> Verdict:
    return Verdict(claim, "not run", f"{seeds} of at least {LEAST_SEEDS} shared seeds were run")


def points(value: float) -> str:
    return signed(value, 1)


def signed(value: float, digits: int = 2) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def reward_at(found: Found, seconds: float) -> tuple[int, dict[str, float]]:
    """(steps that fit into `seconds` at the median step's speed, seed -> mean training reward of the last five)."""
    steps = int(seconds / found.step_seconds + 1e-9)
    rewards: dict[str, float] = {}
    for run in found.result.runs if found.result else ():
        curve = run.curves.get("rollout/reward_mean")
        if curve is not None and (kept := curve.values[curve.steps <= steps][-_LAST:]).size:
            rewards[run.seed] = float(np.nanmean(kept))
    return steps, rewards
