"""Collects the data of later steps in a background thread during updates, with slightly older student weights.

Step s is generated and scored with the weights after max(0, s - n) steps, n the maximum staleness, so that the weights
of a step depend only on its number and never on timing. With several ranks, each has such a thread; they collect the
same steps in the same order, and communicate over their own process group.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from opdkit.training.step_data import StepData
from opdkit.world.world import World

Walks = dict[str, dict[str, int]]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Collected:
    """The data of a step.

    Attributes:
        walks: each task's position in its order of problems, before the step.
        data: the data of each term of each task.
        ready: when collection finished, by the performance counter.
    """

    walks: Walks
    data: list[StepData]
    ready: float


@dataclass(frozen=True)
class Work:
    """The work of the background thread.

    Attributes:
        collect: (step, version) -> the step's data, generated and scored by `writer`.
        walks: returns each task's current position in its order of problems.
        writer: the copy of the student that generates.
        world: the ranks, over a separate process group (`World.apart`).
    """

    collect: Callable[[int, int], list[StepData]]
    walks: Callable[[], Walks]
    writer: nn.Module
    world: World = field(default_factory=World)


class AheadCollector:
    """A thread that collects steps in order. `version` is the number of steps after which the weights were taken.

    Args:
        work: the functions that the thread calls.
        student: the model whose weights are copied.
        staleness: maximum age in steps of the weights that generate a step, at least 1.
        steps: the number of steps in the run.
    """

    def __init__(self, work: Work, student: nn.Module, staleness: int, steps: int) -> None:
        self._work = work
        self._student = student
        self._staleness = staleness
        self._steps = steps
        self._jobs: dict[int, Future[Collected]] = {}
        self._weights: dict[int, Weights] = {}
        self._metrics: dict[str, float] = {}
        self._failure: BaseException | None = None
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "opdkit-ahead", self._enter, (torch.get_num_threads(),))

    def take(self, step: int) -> list[StepData]:
        """The data of step `step`. Also starts the collection of later steps with the current weights."""
        for later in range(step, min(step + self._staleness + 1, self._steps)):
            self._begin(later, step)
        asked = time.perf_counter()
        found = self._jobs.pop(step).result()
        now = time.perf_counter()
        self._weights = {v: held for v, held in self._weights.items() if v > step - self._staleness}
        self._metrics = {
            "time/student_waited_s": now - asked,
            "time/rollouts_waited_s": max(0.0, asked - found.ready),
            "rollout/staleness": float(step - self._version(step)),
        }
        return found.data

    def metrics(self) -> dict[str, float]:
        """Waiting times and the age of the weights, for the last step taken."""
        return self._metrics

    def walks(self, step: int) -> Walks:
        """Each task's position in its order of problems before `step`, the next one, was collected."""
        return self._jobs[step].result().walks if step in self._jobs else self._work.walks()

    def pending(self) -> dict[str, Tensor]:
        """The weights that generated the steps not taken yet, as `<version>.<name>`, for `restore`."""
        versions = sorted({self._version(step) for step in self._jobs})
        return {f"{v}.{name}": value for v in versions for name, value in self._weights[v].items()}

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Recollect the steps that were pending before step `step`, with the weights from `pending`."""
        for name, value in tensors.items():
            version, _, inner = name.partition(".")
            held: Any = self._weights.setdefault(int(version), {})
            held[inner] = value
        for later in range(step, min(step + self._staleness, self._steps)):
            self._begin(later, self._version(later))

    def close(self) -> None:
        """Wait for the step in progress and end the thread."""
        self._closing = True
        self._thread.shutdown(wait=True)

    def _enter(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._work.world.enter()

    def _version(self, step: int) -> int:
        return max(0, step - self._staleness)

    def _begin(self, step: int, now: int) -> None:
        """Submit a step unless it has been already. now: the version of the student's weights."""
        version = self._version(step)
        if step in self._jobs:
            return
        if version not in self._weights:
            assert version == now, "a step is begun while the student still has the weights that write it"
            self._weights[version] = {n: p.detach().clone() for n, p in self._student.named_parameters()}
        self._jobs[step] = self._thread.submit(self._collect, step, version, self._weights[version])

    def _collect(self, step: int, version: int, weights: Weights) -> Collected:
        """Collect a step, unless an earlier one failed on this rank, in which the other ranks are still waiting."""
        if self._failure is not None:
            raise self._failure
        try:
            # If one rank is closing, no rank starts the step.
            if self._work.world.any(self._closing):
                raise CancelledError
            return self._collected(step, version, weights)
        except BaseException as failure:
            self._failure = failure
            raise

    def _collected(self, step: int, version: int, weights: Weights) -> Collected:
        with torch.no_grad():
            for name, parameter in self._work.writer.named_parameters():
                parameter.copy_(weights[name])
        walks = self._work.walks()
        data = self._work.collect(step, version)
        return Collected(walks, data, time.perf_counter())
