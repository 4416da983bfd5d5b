"""Aggregates metrics over steps into a mean and a band for each configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opdkit.charts.chart import Chart, Line, Section, Values
from opdkit.intervals import LEVEL, resampling_weights
from opdkit.reports.configurations import Configuration
from opdkit.reports.runs import Curve

POINTS = 120
_RESAMPLES = 400


@dataclass(frozen=True)
class _Metric:
    title: str
    unit: str
    log: bool = False
    percent: bool = False


_LOSS_NOTE = "Losses of different objectives are on different scales: compare shapes, not values."
_SHARE = "share of tokens"

SECTIONS: Sequence[tuple[str, str, str, Mapping[str, _Metric]]] = (
    ("learning", "Learning curves", _LOSS_NOTE, {
        "rollout/reward_mean": _Metric("Reward of rollouts", "share accepted by the grader", percent=True),
        "train/loss": _Metric("Loss", "nats"),
    }),
    ("variance", "Gradient and its variance", "Variance is over the micro-batches of an update.", {
        "train/grad_variance": _Metric("Gradient variance", "squared gradient", log=True),
        "train/grad_snr": _Metric("Signal-to-noise ratio of the gradient", "ratio; below 0, noise dominates"),
        "train/grad_norm": _Metric("Gradient norm", "before clipping", log=True),
    }),
    ("gap", "Gap to the teacher", "Log-ratio is log(π / q) of the sampled tokens, the gap log(q / π): "
     "π the student, q the teacher.", {
        "opd/log_ratio_mean": _Metric("Mean log-ratio", "nats"),
        "failure/gap_min": _Metric("Lowest token gap", "nats"),
        "failure/gap_truncated": _Metric("Gap of truncated responses", "nats, mean"),
        "failure/gap_stopped": _Metric("Gap of completed responses", "nats, mean"),
    }),
    ("imbalance", "Imbalance of supervision", "A token's advantage is its gap.", {
        "opd/positive_fraction": _Metric("Positive advantage", _SHARE, percent=True),
        "failure/positive_weight": _Metric("Weight of positive advantages", "share of Σ |advantage|", percent=True),
        "failure/probability_correlation": _Metric("Correlation of π and q", "Pearson, sampled tokens"),
        "failure/advantage_p1": _Metric("Advantage, 1st percentile", "nats"),
        "failure/advantage_p99": _Metric("Advantage, 99th percentile", "nats"),
    }),
    ("prefixes", "Teacher on the student's prefixes", "", {
        "failure/repetition_rate": _Metric("Repetition", "share of tokens that repeat an n-gram", percent=True),
        "failure/teacher_probability_repeated": _Metric("Teacher's probability, repeated", "mean of q", percent=True),
        "failure/teacher_probability_new": _Metric("Teacher's probability, new", "mean of q", percent=True),
        "failure/answered_fraction": _Metric("Responses with an answer", "share", percent=True),
        "failure/tokens_after_answer": _Metric("Tokens after the answer", "mean"),
    }),
    ("mismatch", "Mismatched tokens", "", {
        "failure/top_id_weight": _Metric("Weight of one token id", "largest share of the sum of |gap|", percent=True),
        "failure/stop_gap_mean": _Metric("Gap at stop tokens", "nats, mean"),
        "failure/stop_gap_min": _Metric("Lowest gap at a stop token", "nats"),
    }),
    ("support", "Overlap and probability mass", "S is the objective's support, or the teacher's top ids.", {
        "opd/student_mass": _Metric("Student's mass on S", "probability", percent=True),
        "opd/teacher_mass": _Metric("Teacher's mass on S", "probability", percent=True),
        "opd/outside_support": _Metric("Sampled tokens outside S", "share", percent=True),
        "opd/overlap": _Metric("Overlap of the two top-K sets", "share", percent=True),
        "opd/masked_fraction": _Metric("Masked tokens", "share", percent=True),
    }),
    ("entropy", "Entropy", "On the student's rollouts.", {
        "opd/student_entropy": _Metric("Student's entropy", "nats"),
        "opd/teacher_entropy": _Metric("Teacher's entropy", "nats"),
    }),
    ("truncation", "Truncation and length", "A response is truncated if it reaches the length limit.", {
        "rollout/truncated_fraction": _Metric("Truncated responses", "share", percent=True),
        "rollout/length_mean": _Metric("Response length", "tokens"),
    }),
    ("cost", "Time and memory", "Times are comparable only between runs on the same, otherwise idle machine.", {
        "time/rollout_s": _Metric("Rollouts and grading", "seconds per step"),
        "time/teacher_s": _Metric("Masks and teacher", "seconds per step"),
        "time/update_s": _Metric("Updates", "seconds per step"),
        "time/diagnostics_s": _Metric("Diagnostics", "seconds per step"),
        "perf/tokens_per_s": _Metric("Throughput", "response tokens per second"),
        "perf/peak_rss_mib": _Metric("Peak memory", "MiB"),
    }),
)  # fmt: skip
"""(name, title, note, metrics) of each section, in the page's order."""


def sections(groups: Sequence[Configuration], teachers: Mapping[str, float]) -> list[Section]:
    """Sections for the metrics of the runs; unlisted metrics go into the last one, `other`.

    teachers: benchmark -> the teacher's accuracy, a line in the chart of its evaluations.
    """
    names = sorted({name for group in groups for run in group.runs for name in run.curves})
    known = {name for _, _, _, metrics in SECTIONS for name in metrics}
    evaluations = [name for name in names if name.startswith("eval/")]
    page_sections: list[Section] = []
    for key, title, note, metrics in SECTIONS:
        extra = [name for name in evaluations if (key, name.endswith("/truncated_fraction")) in _EVALUATIONS]
        chosen = {**{name: _evaluation(name) for name in extra}, **metrics} if extra else metrics
        charts = [
            chart(groups, name, metric, _reference(name, teachers)) for name, metric in chosen.items() if name in names
        ]
        if charts:
            page_sections.append(_section(key, title, note, charts))
    rest = [name for name in names if name not in known and not name.startswith("eval/")]
    if rest:
        charts = [chart(groups, name, _Metric(name, "")) for name in rest]
        page_sections.append(_section("other", "Other logged metrics", "", charts))
    return page_sections


def _section(name: str, title: str, note: str, charts: Sequence[Chart]) -> Section:
    """A section with charts of the metrics that change and the values of constant ones."""
    values = [chart.constant() for chart in charts]
    moving = [chart for chart, value in zip(charts, values, strict=True) if value is None]
    constants = [(chart.title, value) for chart, value in zip(charts, values, strict=True) if value is not None]
    return Section(name, title, note, moving, constants)


_EVALUATIONS = (("learning", False), ("truncation", True))


def _evaluation(name: str) -> _Metric:
    _, _, rest = name.partition("/")
    benchmark, _, what = rest.rpartition("/")
    name_of_metric = "Truncated answers" if what == "truncated_fraction" else f"Benchmark {what}"
    return _Metric(f"{name_of_metric}, {benchmark}", "held-out problems", percent=True)


def _reference(name: str, teachers: Mapping[str, float]) -> list[tuple[str, float]]:
    return [("teacher", value) for benchmark, value in teachers.items() if name == f"eval/{benchmark}/pass@1"]


def chart(
    groups: Sequence[Configuration], name: str, metric: _Metric, references: Sequence[tuple[str, float]] = ()
) -> Chart:
    """One metric of all configurations that have it."""
    lines = [
        line(group.label, index, [run.curves[name] for run in group.runs if name in run.curves])
        for index, group in enumerate(groups)
        if any(name in run.curves for run in group.runs)
    ]
    positive = all(bool((one.y[np.isfinite(one.y)] > 0).any()) for one in lines)
    return Chart(
        metric.title, metric.unit, lines, log=metric.log and positive, percent=metric.percent, references=references
    )


def line(label: str, index: int, curves: Sequence[Curve]) -> Line:
    """The mean over runs at each step, and the 95 % bootstrap band of that mean over runs.

    More than `POINTS` steps are first averaged in equal bins. A run without a value at a step is ignored there. With
    two or three runs the band is their range.
    """
    steps, values = _aligned(curves)
    weight = np.isfinite(values)
    filled = np.where(weight, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = filled.sum(0) / weight.sum(0)
        if len(curves) == 1:
            return Line(label, index, steps, mean)
        drawn = resampling_weights(len(curves), 0, _RESAMPLES)
        means = (drawn @ filled) / (drawn @ weight)
    tail = (1.0 - LEVEL) / 2.0
    quantiles = np.quantile if weight.all() else np.nanquantile
    usable = weight.any(0)
    low, high = np.full(len(steps), np.nan), np.full(len(steps), np.nan)
    if usable.any():
        low[usable], high[usable] = quantiles(means[:, usable], [tail, 1.0 - tail], axis=0)
    return Line(label, index, steps, mean, low, high)


def _aligned(curves: Sequence[Curve]) -> tuple[Values, Values]:
    """Steps f64[n] of any run, and values f64[runs, n], NaN where a run has none."""
    steps = np.unique(np.concatenate([curve.steps for curve in curves]))
    values = np.full((len(curves), len(steps)), np.nan)
    for row, curve in enumerate(curves):
        values[row, np.searchsorted(steps, curve.steps)] = curve.values
    if len(steps) <= POINTS:
        return steps, values
    edges = np.linspace(0, len(steps), POINTS + 1).astype(int)
    weight = np.isfinite(values)
    sums = np.add.reduceat(np.where(weight, values, 0.0), edges[:-1], axis=1)
    counts = np.add.reduceat(weight.astype(np.float64), edges[:-1], axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = sums / counts
    middles = np.add.reduceat(steps, edges[:-1]) / np.diff(edges)
    return middles, means
