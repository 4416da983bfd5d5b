"""The numbers of a step from those of its tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opdkit.training.collect import StepData

_OF_THE_STEP = ("train/", "opd/")
_TIME = "time/"


@dataclass
class Overhead:
    """Seconds that steps took, and those of them that went into metrics, diagnostics and samples alone."""

    step_s: float = 0.0
    metrics_s: float = 0.0

    def add(self, metrics: Mapping[str, float]) -> None:
        """One step's numbers. Diagnostics and samples come behind the phases, the other metrics within them."""
        phases = sum(metrics.get(f"time/{name}_s", 0.0) for name in ("rollout", "teacher", "update"))
        behind = metrics.get("time/diagnostics_s", 0.0)
        self.step_s += phases + behind
        self.metrics_s += metrics.get("time/metrics_s", 0.0)

    @property
    def share(self) -> float | None:
        """Of the steps' time; None before the first step."""
        return self.metrics_s / self.step_s if self.step_s > 0 else None


def step_metrics(collected: Sequence[StepData], updates: Mapping[str, float]) -> dict[str, float]:
    """What writing and scoring a step told, and where tasks have names, the same again under `<task>/`.

    updates: the numbers of the step's updates; they are those of a task where it had the step for itself. What all
    tasks of a mixed step tell is averaged over them by their rollouts; times are added.
    """
    found = _averaged(collected)
    for part in collected:
        alone = {k: v for k, v in updates.items() if k.startswith(_OF_THE_STEP)} if len(collected) == 1 else {}
        found = namespaced(part.name, {**(alone if part.name else {}), **part.written.metrics}, found)
    return found | {
        "time/rollout_s": sum(part.rollout_seconds for part in collected),
        "time/teacher_s": sum(part.teacher_seconds for part in collected),
    }


def namespaced(task: str, numbers: Mapping[str, float], found: Mapping[str, float]) -> dict[str, float]:
    """`found` and the numbers of a task under `<task>/` (as they are, where it is the only one); times are added."""
    joined = dict(found)
    for name, value in numbers.items():
        if name.startswith(_TIME):
            joined[name] = joined.get(name, 0.0) + value
        else:
            joined[f"{task}/{name}" if task else name] = value
    return joined


def _averaged(collected: Sequence[StepData]) -> dict[str, float]:
    first, *others = [part.written.metrics for part in collected]
    shared = [name for name in first if not name.startswith(_TIME) and all(name in other for other in others)]
    if not others:
        return {name: first[name] for name in shared}
    weights = [len(part.written.sizes) for part in collected]
    return {
        name: sum(part.written.metrics[name] * weight for part, weight in zip(collected, weights, strict=True))
        / sum(weights)
        for name in shared
    }
