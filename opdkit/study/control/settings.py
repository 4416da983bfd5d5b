"""Defines the settings and constants of the control study."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Activation = Literal["tanh", "relu"]
Optimizer = Literal["adam", "sgd"]


@dataclass(frozen=True)
class Task:
    """A walk from `start` to `goal` on a line; `identifier` is the policy's task input."""

    name: str
    identifier: float
    start: float
    goal: float


TASKS = (Task("left", -1.0, 2.0, -3.0), Task("right", 1.0, -2.0, 3.0))
"""App. E of the paper. Students learn the left one on odd iterations."""


@dataclass(frozen=True)
class Body:
    """A policy: three linear layers of width `hidden`, `activation` between them; the step's standard deviation is
    std_min + (std_max - std_min) sigmoid(output), its mean is not bounded."""

    hidden: int
    activation: Activation
    std_min: float
    std_max: float

    @property
    def parameters(self) -> int:
        """Parameters per policy: inputs are task, position and time, outputs mean and deviation."""
        return 3 * self.hidden + self.hidden**2 + 2 * self.hidden + 2 * self.hidden + 2


@dataclass(frozen=True)
class Episode:
    """steps: moves per episode; trajectories: episodes per update, in `micro_batches` equal parts."""

    steps: int
    trajectories: int
    micro_batches: int


@dataclass(frozen=True)
class Learning:
    """iterations: updates; optimizer and its constant learning rate."""

    iterations: int
    optimizer: Optimizer
    lr: float
