"""Collects the data of the next steps in a thread beside the updates, with weights the student had some steps before.

Step s is written and scored by the weights after max(0, s - n) steps, n the largest staleness. Which weights wrote
which step is then a matter of its number alone, never of time. With several processes each has such a thread; they
collect the same steps in the same order, and communicate over a group of their own.
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
        walks: where each task's order of problems stood before.
        data: of each term of each task.
        ready: when they were there, by the performance counter.
    """

    walks: Walks
    data: list[StepData]
    ready: float


@dataclass(frozen=True)
class Work:
    """What the thread calls.

    Attributes:
        collect: (step, version) -> the step's data, written and scored by `writer`.
        walks: where each task's order of problems stands.
        writer: the copy of the student that writes.
        world: the processes, apart from what they communicate elsewhere (`World.apart`).
    """

    collect: Callable[[int, int], list[StepData]]
    walks: Callable[[], Walks]
    writer: nn.Module
    world: World = field(default_factory=World)


class AheadCollector:
    """One thread that collects step after step. `version` counts the steps that the weights have made.

    Args:
        work: what it calls.
        student: whose weights are copied.
        staleness: how many steps old the weights may be that write a step, at least 1.
        steps: of the run; no step after them is collected.
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
        """The data of step `step`. Those of later steps are begun with the weights as they stand."""
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
        """Of the step that was taken last: what waited for what, and how many steps old the weights were."""
        return self._metrics

    def walks(self, step: int) -> Walks:
        """Where each task's order of problems stood before step `step`, the next one, was collected."""
        return self._jobs[step].result().walks if step in self._jobs else self._work.walks()

    def pending(self) -> dict[str, Tensor]:
        """The weights that wrote the steps that are not taken yet, as `<version>.<name>`: what `restore` needs."""
        versions = sorted({self._version(step) for step in self._jobs})
        return {f"{v}.{name}": value for v in versions for name, value in self._weights[v].items()}

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Collect again what was pending before step `step`, with the weights that `pending` gave."""
        for name, value in tensors.items():
            version, _, inner = name.partition(".")
            held: Any = self._weights.setdefault(int(version), {})
            held[inner] = value
        for later in range(step, min(step + self._staleness, self._steps)):
            self._begin(later, self._version(later))

    def close(self) -> None:
        """Wait for the step that is being collected, and end the thread."""
        self._closing = True
        self._thread.shutdown(wait=True)

    def _enter(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._work.world.enter()

    def _version(self, step: int) -> int:
        return max(0, step - self._staleness)

    def _begin(self, step: int, now: int) -> None:
        """Have a step collected, unless it is already. now: the version of the student's weights."""
        version = self._version(step)
        if step in self._jobs:
            return
        if version not in self._weights:
            assert version == now, "a step is begun while the student still has the weights that write it"
            self._weights[version] = {n: p.detach().clone() for n, p in self._student.named_parameters()}
        self._jobs[step] = self._thread.submit(self._collect, step, version, self._weights[version])

    def _collect(self, step: int, version: int, weights: Weights) -> Collected:
        """Collect a step, unless one before it failed here: the other processes wait in the midst of that one."""
        if self._failure is not None:
            raise self._failure
        try:
            # A step that one of the processes no longer begins is begun by none.
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
