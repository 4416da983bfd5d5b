"""Follows a metric over a run: the best value so far, and how long nothing was better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["max", "min"]
EVALUATED = ("pass@1", "score", "invalid_rate", "truncated_fraction")
"""What is logged of a benchmark's summary, as `eval/<benchmark>/<name>`."""


@dataclass(frozen=True)
class EarlyStop:
    """When a run ends before its last step.

    Attributes:
        metric: a metric of metrics.jsonl, None for never.
        mode: whether the largest or the smallest value is the best.
        patience: readings in a row without a better value that end the run.
        min_delta: by how much a value must be better to count as such.
    """

    metric: str | None
    mode: Mode
    patience: int
    min_delta: float


@dataclass(frozen=True)
class KeepBest:
    """Of which step the student is kept in best/: that with the best value of the metric, None for of none."""

    metric: str | None
    mode: Mode


@dataclass
class Best:
    """The best value of a metric so far.

    Attributes:
        metric: its name.
        mode: whether the largest or the smallest value is the best.
        min_delta: by how much a value must be better to count as such.
        value: the best one, None before the first reading.
        step: of that value.
        since: readings after it.
    """

    metric: str
    mode: Mode
    min_delta: float = 0.0
    value: float | None = None
    step: int = 0
    since: int = 0

    def read(self, step: int, value: float) -> bool:
        """Whether the value is better than all before it. One that is not finite is not."""
        gain = value if self.value is None else value - self.value
        gain = -gain if self.mode == "min" else gain
        if math.isfinite(value) and (self.value is None or gain > self.min_delta):
            self.value, self.step, self.since = value, step, 0
            return True
        self.since += 1
        return False

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the reading of a checkpoint where it is of the same metric, read in the same way."""
        if (state["metric"], state["mode"]) == (self.metric, self.mode):
            self.value, self.step, self.since = state["value"], int(state["step"]), int(state["since"])


@dataclass(frozen=True)
class Watch:
    """The metrics that a run is stopped and its best student is kept by, None where it is not."""

    stop: Best | None = None
    keep: Best | None = None
    patience: int = 1

    @classmethod
    def of(cls, early_stop: EarlyStop, keep_best: KeepBest) -> Watch:
        """Nothing read yet."""
        stop = early_stop.metric and Best(early_stop.metric, early_stop.mode, early_stop.min_delta)
        keep = keep_best.metric and Best(keep_best.metric, keep_best.mode)
        return cls(stop or None, keep or None, early_stop.patience)

    @property
    def stopped(self) -> bool:
        """Whether the run ends here."""
        return self.stop is not None and self.stop.since >= self.patience

    def read(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Take up the metrics of a step; whether its student is the best so far, and to be kept.

        A metric that the step does not have is not read.
        """
        if self.stop is not None and self.stop.metric in metrics:
            self.stop.read(step, metrics[self.stop.metric])
        return self.keep is not None and self.keep.metric in metrics and self.keep.read(step, metrics[self.keep.metric])

    def missing(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """The key and the name of a metric that a step ought to have and has not. Evaluations have steps of theirs."""
        for key, best in (("early_stop", self.stop), ("keep_best", self.keep)):
            if best is not None and best.metric not in metrics and not best.metric.startswith("eval/"):
                return f"{key}.metric", best.metric
        return None

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: asdict(best) for name, best in (("stop", self.stop), ("keep", self.keep)) if best is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what a checkpoint has of the same metrics."""
        for name, best in (("stop", self.stop), ("keep", self.keep)):
            if best is not None and name in state:
                best.restore(state[name])
