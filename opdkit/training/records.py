"""Records a run: metrics, sample rollouts, evaluations and console output."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from opdkit.console.terminal import Reporter
from opdkit.data.table import Table
from opdkit.evaluation import Asking, evaluate_on, lay_recorded
from opdkit.files import write_folder
from opdkit.generation import Engine, EngineSpec
from opdkit.loggers import MetricLogger
from opdkit.models import LanguageModel
from opdkit.runs.card import model_card
from opdkit.runs.folder import RunFolder
from opdkit.stopwatch import METRICS
from opdkit.training.callbacks import Callback
from opdkit.training.observe import StepObserver
from opdkit.training.probe import Probe
from opdkit.training.record_settings import RecordSettings
from opdkit.training.session import Session
from opdkit.training.step_data import StepData
from opdkit.training.steps import Overhead, namespaced
from opdkit.training.tasks import TaskRun
from opdkit.training.watch import EVALUATED, Watch


@dataclass(frozen=True)
class Records:
    """Connects the loop to the run folder, the loggers, the terminal and user callbacks.

    results: summaries by label, for the model card.
    """

    settings: RecordSettings
    session: Session
    folder: RunFolder
    reporter: Reporter
    loggers: MetricLogger
    callbacks: Sequence[Callback] = ()
    overhead: Overhead = field(default_factory=Overhead)
    results: dict[str, Any] = field(default_factory=dict[str, Any])

    def benchmark_student(self, step: int, label: str) -> dict[str, Any]:
        """Evaluate the student after `step` steps. Returns the summary, by task if there are several (see `by_task`).

        `after` goes to evals/, any other label to a subfolder. If a run that stopped early was already evaluated after
        its last step, those answers are reused.
        """
        folder = self.folder.evals if label == "after" else self.folder.evals / label
        answered = self.folder.evals / f"step-{step:06d}"
        if label == "after" and self.session.world.main and answered.is_dir():
            shutil.copytree(answered, folder, dirs_exist_ok=True)
        student = self.session.policy.model
        summaries: dict[str, dict[str, Any]] = {}
        for name, task in self.session.tasks.items():
            spec: EngineSpec = task.settings.rollout
            summaries[name] = self._evaluate(task, (spec.in_process().open(student), student), folder, label)
        if label in ("before", "after"):
            self.loggers.log(step, _named(summaries.values()))
        self.results[label] = by_task(summaries)
        self._tell_evaluation(step, label, self.results[label])
        return self.results[label]

    def benchmark_teachers(self) -> dict[str, Any] | None:
        """The summary of each task's teacher on the task's benchmark. None if a teacher can't generate, or is sharded,
        since its full weights may not fit on each rank."""
        folder = self.folder.evals / "teacher"
        summaries: dict[str, dict[str, Any]] = {}
        for name, task in self.session.tasks.items():
            writer = None if task.teacher is None else task.teacher.writer(task.settings.rollout)
            if writer is None or writer[1].shards is not None:
                return None
            summaries[name] = self._evaluate(task, writer, folder, "teacher")
        found = by_task(summaries)
        self._tell_evaluation(0, "teacher", found)
        return found

    def evaluate(self, step: int) -> dict[str, float]:
        """See `opdkit.training.loop.Observer`."""
        summary = self.benchmark_student(step, f"step-{step:06d}")
        del self.results[f"step-{step:06d}"]
        return evaluation_metrics(summary)

    def keep_best(self, step: int, watch: Watch) -> None:
        """See `opdkit.training.loop.Observer`."""
        best = watch.keep
        if best is None or best.value is None:
            return
        why = {"kept for": f"{best.metric} = {best.value:.4g}, the best so far ({best.mode})"}
        facts = replace(self.settings.card, settings={**self.settings.card.settings, **why})
        card = model_card(facts, step, self.results)
        policy, folder = self.session.policy, self.folder.best
        weights = policy.gathered()
        self.session.world.from_main(lambda: write_folder(folder, lambda beside: policy.save(beside, card, weights)))

    def card(self, step: int) -> str:
        """See `opdkit.training.loop.Observer`."""
        return model_card(self.settings.card, step, self.results)

    def saved(self, step: int, folder: Path) -> None:
        """See `opdkit.training.loop.Observer`."""
        for callback in self.callbacks:
            callback.on_checkpoint(step, folder)

    def log(self, step: int, metrics: dict[str, float], data: Sequence[StepData]) -> dict[str, float]:
        """Record and show the metrics of one step, its diagnostics, and a few of its rollouts.

        Returns all metrics, on rank 0.
        """
        settings = self.settings
        if settings.log_samples or (settings.diagnostics and _due(step - 1, settings.diagnostics_every)):
            data = [part.joined() for part in data]
        if not self.session.world.main:
            return metrics
        with METRICS:
            metrics, tables = self._diagnosed(step, metrics, data)
            samples = [self._observer.samples(part, settings.log_samples) for part in data if settings.log_samples]
        metrics = metrics | {"time/metrics_s": METRICS.taken()}
        self.overhead.add(metrics)
        if _due(step - 1, settings.probe_every):
            for name, probe in self._probes.items():
                finding = probe.measure(step)
                metrics = namespaced(name, finding.scalars, metrics)
                tables = (*tables, *_renamed(name, finding.tables))
        self.loggers.log(step, metrics)
        if tables:
            self.loggers.tables(step, tables)
        for rows in samples:
            self.loggers.samples(step, rows)
        self.reporter.step(step, settings.steps, metrics)
        for callback in self.callbacks:
            callback.on_step(step, metrics)
        return metrics

    def _tell_evaluation(self, step: int, label: str, summary: Mapping[str, Any]) -> None:
        for callback in self.callbacks if self.session.world.main else ():
            callback.on_evaluation(step, label, summary)

    def _diagnosed(
        self, step: int, metrics: dict[str, float], data: Sequence[StepData]
    ) -> tuple[dict[str, float], tuple[Table, ...]]:
        """The metrics with those of the diagnostics, and their tables; unchanged if no diagnostics are due."""
        tables: tuple[Table, ...] = ()
        if _due(step - 1, self.settings.diagnostics_every) and self.settings.diagnostics:
            for part in data:
                finding = self._observer.diagnose(part)
                metrics = namespaced(part.name, finding.scalars, metrics)
                tables += _renamed(part.name, finding.tables)
        return metrics, tables

    def _evaluate(
        self, task: TaskRun, writer: tuple[Engine, LanguageModel], folder: Path, label: str
    ) -> dict[str, Any]:
        benchmark, spec = task.settings.benchmark, task.settings.rollout
        self.reporter.stage(f"evaluating {label} on {benchmark.name}")
        asking = Asking(*writer, spec.max_prompt_tokens, self.settings.seed, folder, self.reporter.stage)
        alone = self.session.world.size == 1
        if alone and label in ("before", "teacher") and lay_recorded(asking, benchmark):
            self.reporter.stage(f"{label} on {benchmark.name}: the answers that are recorded in the package")
        with writer[1].whole():
            return evaluate_on(asking, benchmark)

    @cached_property
    def _observer(self) -> StepObserver:
        return StepObserver(self.session.policy.model, self.settings.diagnostics)

    @cached_property
    def _probes(self) -> dict[str, Probe]:
        tasks = self.session.tasks.items()
        return {name: Probe.of(self.settings.probe, task, self.session, self.settings.seed) for name, task in tasks}


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def by_task(summaries: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """A run's summary: the benchmark's own, or with several tasks their mean pass@1 and each task's under `tasks`."""
    if "" in summaries:
        return summaries[""]
    mean = sum(float(found["pass@1"]) for found in summaries.values()) / len(summaries)
    return {"pass@1": mean, "tasks": dict(summaries)}


def evaluation_metrics(summary: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a run's summary (see `by_task`)."""
    return _named(summary["tasks"].values() if "tasks" in summary else [summary])


def _renamed(task: str, tables: Iterable[Table]) -> tuple[Table, ...]:
    return tuple(replace(table, name=f"{task}/{table.name}" if task else table.name) for table in tables)


def _named(summaries: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    return {
        f"eval/{found['benchmark']}/{name}": float(found[name])
        for found in summaries
        for name in EVALUATED
        if isinstance(found.get(name), int | float)
    }
