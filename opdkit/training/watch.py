"""Tracks a metric over a run: its best value, and the number of readings since."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Mode = Literal["max", "min"]
EVALUATED = ("pass@1", "score", "invalid_rate", "truncated_fraction")
"""The entries of a benchmark's summary that are logged, as `eval/<benchmark>/<name>`."""


@dataclass(frozen=True)
class EarlyStop:
    """Settings of early stopping.

    Attributes:
        metric: a metric of metrics.jsonl, None for no early stopping.
        mode: whether the largest or the smallest value is the best.
        patience: consecutive readings without improvement that end the run.
        min_delta: the minimum improvement.
    """

    metric: str | None
    mode: Mode
    patience: int
    min_delta: float


@dataclass(frozen=True)
class KeepBest:
    """The metric by which the best student is saved in best/, None for no saving."""

    metric: str | None
    mode: Mode


@dataclass
class Best:
    """The best value of a metric so far.

    Attributes:
        metric: its name.
        mode: whether the largest or the smallest value is the best.
        min_delta: the minimum improvement.
        value: the best value, None before the first reading.
        step: the step of that value.
        since: the number of readings after it.
    """

    metric: str
    mode: Mode
    min_delta: float = 0.0
    value: float | None = None
    step: int = 0
    since: int = 0

    def read(self, step: int, value: float) -> bool:
        """Whether the value is better than all before it. A non-finite value never is."""
        gain = value if self.value is None else value - self.value
        gain = -gain if self.mode == "min" else gain
        if math.isfinite(value) and (self.value is None or gain > self.min_delta):
            self.value, self.step, self.since = value, step, 0
            return True
        self.since += 1
        return False

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore from a checkpoint, if its metric and settings are the same."""
        if (state["metric"], state["mode"]) == (self.metric, self.mode):
            self.value, self.step, self.since = state["value"], int(state["step"]), int(state["since"])


@dataclass(frozen=True)
class Watch:
    """The metrics used for early stopping and for saving the best student, None if unused."""

    stop: Best | None = None
    keep: Best | None = None
    patience: int = 1

    @classmethod
    def of(cls, early_stop: EarlyStop, keep_best: KeepBest) -> Watch:
        """A watch without readings."""
        stop = early_stop.metric and Best(early_stop.metric, early_stop.mode, early_stop.min_delta)
        keep = keep_best.metric and Best(keep_best.metric, keep_best.mode)
        return cls(stop or None, keep or None, early_stop.patience)

    @property
    def stopped(self) -> bool:
        """Whether the run must stop."""
        return self.stop is not None and self.stop.since >= self.patience

    def read(self, step: int, metrics: Mapping[str, float]) -> bool:
        """Read the metrics of a step. Returns whether its student is the best so far and must be saved.

        A metric that is missing in the step is skipped.
        """
        if self.stop is not None and self.stop.metric in metrics:
            self.stop.read(step, metrics[self.stop.metric])
        return self.keep is not None and self.keep.metric in metrics and self.keep.read(step, metrics[self.keep.metric])

    def missing(self, metrics: Mapping[str, float]) -> tuple[str, str] | None:
        """The key and name of a watched metric that is missing in a step. Evaluation metrics are excluded, since not
        every step has them."""
        for key, best in (("early_stop", self.stop), ("keep_best", self.keep)):
            if best is not None and best.metric not in metrics and not best.metric.startswith("eval/"):
                return f"{key}.metric", best.metric
        return None

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {name: asdict(best) for name, best in (("stop", self.stop), ("keep", self.keep)) if best is not None}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore the readings of the same metrics from a checkpoint."""
        for name, best in (("stop", self.stop), ("keep", self.keep)):
            if best is not None and name in state:
                best.restore(state[name])
