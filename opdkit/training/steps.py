"""Combines the metrics of a step's tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opdkit.training.sources import mean
from opdkit.training.step_data import StepData

_OF_THE_STEP = ("train/", "opd/")
_TIME = "time/"


@dataclass
class Overhead:
    """Total seconds of the steps, and the part spent on metrics, diagnostics and samples."""

    step_s: float = 0.0
    metrics_s: float = 0.0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Add one step. Diagnostics and samples run after its timed phases, other metrics within them."""
        phases = sum(metrics.get(f"time/{name}_s", 0.0) for name in ("rollout", "teacher", "update"))
        behind = metrics.get("time/diagnostics_s", 0.0)
        self.step_s += phases + behind
        self.metrics_s += metrics.get("time/metrics_s", 0.0)

    @property
    def share(self) -> float | None:
        """The overhead as a fraction of the steps' time; None before the first step."""
        return self.metrics_s / self.step_s if self.step_s > 0 else None


def step_metrics(data: Sequence[StepData], updates: Mapping[str, float]) -> dict[str, float]:
    """The metrics of generating and scoring a step.

    Metrics of rollouts by another author than the student are under `<author>/`. Those of named tasks are repeated
    under `<task>/`. In a mixed step, metrics are averaged over tasks, weighted by rollouts, and times are summed.

    Args:
        data: the data of each term of each task.
        updates: the metrics of the step's updates, which also count as a task's if it is alone in the step.
    """
    batches = {(part.name, part.batch.rollout.author): part for part in data}
    own = [part for (_, author), part in batches.items() if author == "student"]
    metrics = _averaged(own) if own else {}
    for (name, author), part in batches.items():
        alone = {k: v for k, v in updates.items() if k.startswith(_OF_THE_STEP)} if len(batches) == 1 and name else {}
        place = "/".join(word for word in (name, "" if author == "student" else author) if word)
        metrics = namespaced(place, {**alone, **part.rollouts.metrics}, metrics)
    return metrics | {
        "time/rollout_s": sum(part.rollout_seconds for part in data),
        "time/teacher_s": sum(part.teacher_seconds for part in data),
    }


def update_metrics(updates: Sequence[Mapping[str, float]], *, several_terms: bool) -> dict[str, float]:
    """The mean metrics of a step's updates, under `train/`; with several terms also `<term>/train/loss`, which sum to
    `train/loss`."""
    metrics: dict[str, float] = {}
    for name in dict.fromkeys(name for numbers in updates for name in numbers):
        term, _, number = name.rpartition("/")
        if name != "skipped" and (several_terms or not term):
            place = f"{term}/train/{number}" if term else f"train/{number}"
            metrics[place] = mean([numbers.get(name, 0.0) for numbers in updates])
    return metrics


def namespaced(place: str, numbers: Mapping[str, float], metrics: Mapping[str, float]) -> dict[str, float]:
    """`metrics` extended by `numbers` under `<place>/` (without prefix if place is empty); times are summed."""
    joined = dict(metrics)
    for name, value in numbers.items():
        if name.startswith(_TIME):
            joined[name] = joined.get(name, 0.0) + value
        else:
            joined[f"{place}/{name}" if place else name] = value
    return joined


def _averaged(collected: Sequence[StepData]) -> dict[str, float]:
    first, *others = [part.rollouts.metrics for part in collected]
    shared = [name for name in first if not name.startswith(_TIME) and all(name in other for other in others)]
    if not others:
        return {name: first[name] for name in shared}
    weights = [len(part.rollouts.sizes) for part in collected]
    return {
        name: sum(part.rollouts.metrics[name] * weight for part, weight in zip(collected, weights, strict=True))
        / sum(weights)
        for name in shared
    }
