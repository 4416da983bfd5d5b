"""What a run keeps of itself: metrics, a few rollouts, evaluations; and what it shows meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from opdkit.console.terminal import Reporter
from opdkit.data.table import Table
from opdkit.experiment import Experiment
from opdkit.loggers import MetricLogger
from opdkit.models import LanguageModel
from opdkit.runs.folder import RunFolder
from opdkit.stopwatch import METRICS
from opdkit.training.answers import ask
from opdkit.training.collect import StepData
from opdkit.training.observe import Observer
from opdkit.training.parts import TaskRun
from opdkit.training.probe import Probe
from opdkit.training.session import Session
from opdkit.training.steps import Overhead, namespaced


@dataclass(frozen=True)
class Records:
    """Joins the loop with the run folder, the loggers and the terminal."""

    experiment: Experiment
    session: Session
    folder: RunFolder
    reporter: Reporter
    loggers: MetricLogger
    overhead: Overhead = field(default_factory=Overhead)

    def benchmark_student(self, step: int, label: str) -> dict[str, Any]:
        """The student's summary after `step` steps, of each task where there are several (see `by_task`).

        `after` goes to evals/, anything else to a folder below it.
        """
        folder = self.folder.evals if label == "after" else self.folder.evals / label
        found = {name: self._ask(part, self.session.student, folder, label) for name, part in self._parts.items()}
        if label in ("before", "after"):
            self.loggers.log(step, _named(found.values()))
        return by_task(found)

    def benchmark_teachers(self) -> dict[str, Any]:
        """The summary of each task's teacher on the task's benchmark."""
        folder = self.folder.evals / "teacher"
        parts = self._parts.items()
        return by_task({name: self._ask(part, part.teacher.model, folder, "teacher") for name, part in parts})

    def evaluate(self, step: int) -> dict[str, float]:
        """Metrics of the student after `step` steps."""
        found = self.benchmark_student(step, f"step-{step:06d}")
        return _named(found["tasks"].values() if "tasks" in found else [found])

    def log(self, step: int, metrics: dict[str, float], collected: Sequence[StepData]) -> None:
        """Keep and show the metrics of one step, what its diagnostics find, and a few of its rollouts."""
        cadence = self.experiment.cadence
        with METRICS:
            metrics, tables = self._diagnosed(step, metrics, collected)
            samples = [self._observer.samples(part, cadence.log_samples) for part in collected if cadence.log_samples]
        metrics = metrics | {"time/metrics_s": METRICS.taken()}
        self.overhead.add(metrics)
        if cadence.probes(step - 1):
            for name, probe in self._probes.items():
                found = probe.measure(step)
                metrics, tables = namespaced(name, found.scalars, metrics), (*tables, *_renamed(name, found.tables))
        self.loggers.log(step, metrics)
        if tables:
            self.loggers.tables(step, tables)
        for rows in samples:
            self.loggers.samples(step, rows)
        self.reporter.step(step, self.experiment.steps, metrics)

    def _diagnosed(
        self, step: int, metrics: dict[str, float], collected: Sequence[StepData]
    ) -> tuple[dict[str, float], tuple[Table, ...]]:
        """The metrics with what the diagnostics add to them, and their tables; as they are where none are due."""
        tables: tuple[Table, ...] = ()
        if self.experiment.cadence.diagnoses(step - 1) and self.experiment.diagnostics:
            for part in collected:
                found = self._observer.diagnose(part)
                metrics = namespaced(part.name, found.scalars, metrics)
                tables += _renamed(part.name, found.tables)
        return metrics, tables

    @property
    def _parts(self) -> Mapping[str, TaskRun]:
        return self.session.parts

    def _ask(self, part: TaskRun, model: LanguageModel, folder: Path, label: str) -> dict[str, Any]:
        benchmark = part.experiment.benchmark
        self.reporter.stage(f"evaluating {label} on {benchmark.name}")
        return ask(
            model, benchmark, part.experiment.rollout, self.session.accelerator, self.experiment.seed, folder,
            self.reporter,
        )  # fmt: skip

    @cached_property
    def _observer(self) -> Observer:
        return Observer(self.session.student, self.experiment.diagnostics)

    @cached_property
    def _probes(self) -> dict[str, Probe]:
        return {name: Probe.of(part, self.session) for name, part in self._parts.items()}


def by_task(summaries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A run's summary: the benchmark's own, or with several tasks their mean pass@1 and each task's under `tasks`."""
    if "" in summaries:
        return summaries[""]
    mean = sum(float(found["pass@1"]) for found in summaries.values()) / len(summaries)
    return {"pass@1": mean, "tasks": dict(summaries)}


def _renamed(task: str, tables: Iterable[Table]) -> tuple[Table, ...]:
    return tuple(replace(table, name=f"{task}/{table.name}" if task else table.name) for table in tables)


def _named(summaries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    return {
        f"eval/{found['benchmark']}/{name}": float(found[name])
        for found in summaries
        for name in ("pass@1", "score", "invalid_rate", "truncated_fraction")
        if isinstance(found.get(name), int | float)
    }
