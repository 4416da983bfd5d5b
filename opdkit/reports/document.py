"""Collects the content of a report, shared by all its formats."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType

import numpy as np

from opdkit.charts.chart import Chart, Line, Section
from opdkit.errors import UserError
from opdkit.reports import curves, diagnostics, rollouts, runs
from opdkit.reports.configurations import Configuration, Objectives, configurations
from opdkit.reports.diagnostics import Table
from opdkit.reports.results import Benchmark, benchmarks
from opdkit.reports.rollouts import Shown
from opdkit.reports.runs import Run

COLOURS = 8


@dataclass(frozen=True)
class Document:
    """The content of a report, independent of its format.

    Attributes:
        runs: All runs that were read.
        configurations: The runs grouped by configuration.
        benchmarks: Results and differences, one for each benchmark.
        sections: Charts over steps and over positions.
        tables: Diagnostics that are not plotted.
        samples: Sample rollouts.
        colours: Index of a configuration -> its series class, s0 to s7, or `rest` beyond eight.
        remarks: Skipped items and warnings, one line each.
    """

    runs: Sequence[Run]
    configurations: Sequence[Configuration]
    benchmarks: Sequence[Benchmark]
    sections: Sequence[Section]
    tables: Sequence[Table]
    samples: Sequence[Shown]
    colours: Mapping[int, str]
    remarks: Sequence[str]

    def colours_of(self, section: Section) -> Mapping[int, str]:
        """The series class of each line in a section; the single line over a swept key has the default one."""
        return {0: "plain"} if section.name.startswith("swept-") else self.colours

    @property
    def keys(self) -> list[str]:
        """Names of the keys in which the configurations differ."""
        return list(self.configurations[0].values)


def collect(arguments: Sequence[str], objectives: Objectives = MappingProxyType({})) -> Document:
    """Reads the runs that `arguments` name. Raises UserError if there are none.

    objectives: option -> its values, used to name runs with different objectives.
    """
    every_run, remarks = runs.read_all(arguments)
    if not every_run:
        raise UserError(f"no run to report on: {'; '.join(remarks) or 'nothing was named'}")
    return assemble(every_run, remarks, objectives)


def assemble(
    every_run: Sequence[Run], remarks: Sequence[str] = (), objectives: Objectives = MappingProxyType({})
) -> Document:
    """The report of runs already read."""
    groups = configurations(every_run, objectives)
    measured = benchmarks(groups)
    teachers = {
        one.name: fmean(values)
        for one in measured
        if (values := [r.teacher for r in one.results if math.isfinite(r.teacher)])
    }
    over_steps = curves.sections(groups, teachers)
    behind = [section for section in over_steps if section.name in ("cost", "other")]
    known = [section for section in over_steps if section not in behind]
    swept = [section for one in measured if (section := _swept(one)) is not None]
    return Document(
        runs=every_run,
        configurations=groups,
        benchmarks=measured,
        sections=[*swept, *known, *diagnostics.sections(groups), *behind],
        tables=diagnostics.tables(groups),
        samples=rollouts.shown(groups),
        colours=_colours(groups, measured),
        remarks=list(remarks),
    )


def _colours(groups: Sequence[Configuration], measured: Sequence[Benchmark]) -> dict[int, str]:
    """A colour for each of up to eight configurations; with more, for the best eight."""
    if len(groups) <= COLOURS:
        return {index: f"s{index}" for index in range(len(groups))}
    best: dict[int, float] = {}
    for benchmark in measured:
        for result in benchmark.results:
            best[result.index] = max(best.get(result.index, 0.0), result.accuracy.mean)
    chosen = sorted(range(len(groups)), key=lambda index: (-best.get(index, -1.0), index))[:COLOURS]
    ordered = {index: f"s{rank}" for rank, index in enumerate(sorted(chosen))}
    return {index: ordered.get(index, "rest") for index in range(len(groups))}


def _swept(benchmark: Benchmark) -> Section | None:
    """Accuracy over the only differing key, if it is a number with at least three values."""
    keys = list(benchmark.results[0].configuration.values)
    if len(keys) != 1 or len(benchmark.results) < 3:
        return None
    key = keys[0]
    try:
        points = sorted(
            ((float(r.configuration.values[key]), r) for r in benchmark.results), key=lambda point: point[0]
        )
    except ValueError:
        return None
    places = np.arange(len(points), dtype=np.float64)
    line = Line(
        "pass@1", 0, places,
        np.array([r.accuracy.mean for _, r in points]),
        np.array([r.accuracy.low for _, r in points]),
        np.array([r.accuracy.high for _, r in points]),
    )  # fmt: skip
    ticks = [(float(index), f"{value:g}") for index, (value, _) in enumerate(points)]
    chart = Chart(f"pass@1 over {key}", benchmark.name, [line], key, percent=True, x_ticks=ticks)
    return Section(f"swept-{benchmark.name}", f"Result over {key}", "Mean and 95 % interval at each value.", [chart])
