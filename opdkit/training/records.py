"""What a run keeps of itself: metrics, a few rollouts, evaluations; and what it shows meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from opdkit.experiment import Experiment
from opdkit.loggers import MetricLogger
from opdkit.models import LanguageModel
from opdkit.reporting.terminal import Reporter
from opdkit.training.answers import ask
from opdkit.training.collect import Collected
from opdkit.training.folder import RunFolder
from opdkit.training.observe import Observer
from opdkit.training.probe import Probe
from opdkit.training.session import Session
from opdkit.types import Table


@dataclass(frozen=True)
class Records:
    """Joins the loop with the run folder, the loggers and the terminal."""

    experiment: Experiment
    session: Session
    folder: RunFolder
    reporter: Reporter
    loggers: MetricLogger

    def benchmark(self, model: LanguageModel, step: int, label: str) -> dict[str, Any]:
        """The benchmark's summary for `model`. `after` goes to evals/, anything else to a folder below it."""
        folder = self.folder.evals if label == "after" else self.folder.evals / label
        self.reporter.stage(f"evaluating {label} on {self.experiment.benchmark.name}")
        summary = ask(
            model, self.experiment.benchmark, self.experiment.rollout, self.session.accelerator,
            self.experiment.seed, folder, self.reporter,
        )  # fmt: skip
        if label in ("before", "after"):
            self.loggers.log(step, self._named(summary))
        return summary

    def evaluate(self, step: int) -> dict[str, float]:
        """Metrics of the student after `step` steps."""
        label = f"step-{step:06d}"
        return self._named(self.benchmark(self.session.student, step, label))

    def log(self, step: int, metrics: dict[str, float], collected: Collected) -> None:
        """Keep and show the metrics of one step, what its diagnostics find, and a few of its rollouts."""
        cadence = self.experiment.cadence
        tables: tuple[Table, ...] = ()
        if cadence.diagnoses(step - 1) and self.experiment.diagnostics:
            found = self._observer.diagnose(collected)
            metrics, tables = metrics | found.scalars, found.tables
        if cadence.probes(step - 1):
            found = self._probe.measure(step)
            metrics, tables = metrics | found.scalars, (*tables, *found.tables)
        self.loggers.log(step, metrics)
        if tables:
            self.loggers.tables(step, tables)
        if cadence.log_samples:
            self.loggers.samples(step, self._observer.samples(collected, cadence.log_samples))
        self.reporter.step(step, self.experiment.steps, metrics)

    @cached_property
    def _observer(self) -> Observer:
        return Observer(self.session.student, self.experiment.diagnostics)

    @cached_property
    def _probe(self) -> Probe:
        return Probe.of(self.experiment, self.session)

    def _named(self, summary: dict[str, Any]) -> dict[str, float]:
        prefix = f"eval/{self.experiment.benchmark.name}"
        return {
            f"{prefix}/{name}": float(summary[name])
            for name in ("pass@1", "truncated_fraction")
            if isinstance(summary.get(name), int | float)
        }
