"""Games side by side, each in a process of its own that may hang, die or lie without harm to the run."""

from __future__ import annotations

import atexit
import contextlib
import os
import selectors
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opdkit.environments.base import Crash, EnvironmentSource, Observation, StepResult
from opdkit.environments.chat import parameters
from opdkit.environments.wire import decode_gold, decode_observation, decode_result
from opdkit.errors import RunError, UserError
from opdkit.processes.child import ChildProcess, Reply

Answer = TypeVar("Answer")

_PASSED_ON = ("JAVA_HOME", "JAVA_TOOL_OPTIONS", "ALFWORLD_DATA")
_TRIES = 2


@dataclass(frozen=True)
class TimeLimits:
    """Seconds that a game may take to start, to begin an episode and to do one action."""

    start: float = 180.0
    reset: float = 120.0
    step: float = 60.0


@dataclass
class _Slot:
    """One place for an episode: its process, and what was done since its reset, to do it again after a crash."""

    child: ChildProcess | None = None
    seed: int | None = None
    opening: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    done: bool = False


@dataclass(frozen=True)
class _Request:
    """What is sent, how long it may take, and what looks at the reply (raises ValueError for nonsense)."""

    message: dict[str, Any]
    seconds: float
    read: Callable[[Any], Any]


@dataclass
class _Job:
    """One slot's part in an exchange: requests still to be sent, the last of which is the question."""

    slot: _Slot
    question: _Request
    replays: bool
    waiting: list[_Request] = field(default_factory=list)
    deadline: float = 0.0
    tries: int = 0
    answer: Any = None


class EnvironmentPool:
    """`slots` places for episodes of `source`; slots are numbered from 0 and their processes start when first used.

    Calls take one request a slot and answer them together. A process that dies, hangs over its time limit or
    answers nonsense is replaced, the episode is begun again from its seed and the same actions are done; where that
    fails too, or the game is not the same, the answer is a `Crash`. Raises RunError where a game's process cannot
    be started at all, UserError for what the game refuses (an unknown parameter, a file).
    `seconds` is the time waited for games so far, `restarts` counts replaced processes. All processes end with
    `close`, with this process, and when this process is killed.
    """

    def __init__(self, source: EnvironmentSource, slots: int, limits: TimeLimits | None = None) -> None:
        self.source = source
        self.limits = limits or TimeLimits()
        self.seconds = 0.0
        self.restarts = 0
        self._slots = [_Slot() for _ in range(slots)]
        self._owner = os.getpid()
        atexit.register(self.close)

    def __len__(self) -> int:
        return len(self._slots)

    def __enter__(self) -> EnvironmentPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        atexit.unregister(self.close)

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]:
        """Begin an episode in each (slot, seed)."""
        jobs: list[_Job] = []
        for number, seed in seeds:
            slot = self._slots[number]
            slot.seed, slot.steps, slot.done = seed, [], False
            jobs.append(_Job(slot, _Request({"reset": seed}, self.limits.reset, decode_observation), replays=False))
        answers: list[Observation | Crash] = self._exchange(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            job.slot.opening = answer.text if isinstance(answer, Observation) else ""
        return answers

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]:
        """Do an action in each (slot, action)."""
        jobs = [
            _Job(self._playing(number), _Request({"step": action}, self.limits.step, decode_result), replays=True)
            for number, action in actions
        ]
        answers: list[StepResult | Crash] = self._exchange(jobs)
        for (_, action), job, answer in zip(actions, jobs, answers, strict=True):
            if isinstance(answer, StepResult):
                job.slot.steps.append((action, answer.observation.text))
                job.slot.done = answer.done
        return answers

    def gold(self, slots: Sequence[int]) -> list[tuple[str, ...] | Crash | None]:
        """The gold path of each slot's episode, None where the game tells none."""
        question = _Request({"gold": None}, self.limits.reset, decode_gold)
        return self._exchange([_Job(self._begun(number), question, replays=True) for number in slots])

    def close(self) -> None:
        """End all processes. A later `reset` starts new ones."""
        if os.getpid() != self._owner:  # a forked process leaves them to its parent
            return
        for slot in self._slots:
            _dismiss(slot)
            slot.seed = None

    def process_ids(self) -> list[int]:
        """The games' process ids, for tests and for those who look after processes."""
        return [slot.child.pid for slot in self._slots if slot.child is not None]

    def _begun(self, number: int) -> _Slot:
        if self._slots[number].seed is None:
            raise ValueError(f"slot {number} has no episode: reset it first")
        return self._slots[number]

    def _playing(self, number: int) -> _Slot:
        if self._begun(number).done:
            raise ValueError(f"the episode in slot {number} is over: reset it first")
        return self._slots[number]

    def _exchange(self, jobs: Sequence[_Job]) -> list[Any]:
        if len({id(job.slot) for job in jobs}) < len(jobs):
            raise ValueError("a slot is asked twice at once")
        begun = time.perf_counter()
        try:
            _Exchange(self, jobs).run()
        finally:
            self.seconds += time.perf_counter() - begun
        return [job.answer for job in jobs]


class _Exchange:
    """Sends each job's requests one after another, all jobs side by side, until every question is answered."""

    def __init__(self, pool: EnvironmentPool, jobs: Sequence[_Job]) -> None:
        self.pool, self.jobs = pool, jobs
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        try:
            for job in self.jobs:
                self._begin(job)
            while running := [key.data for key in self.selector.get_map().values()]:
                patience = min(job.deadline for job in running) - time.monotonic()
                for key, _ in self.selector.select(max(0.0, patience)):
                    self._receive(key.data)
                now = time.monotonic()
                for job in [key.data for key in self.selector.get_map().values()]:
                    if now > job.deadline:
                        self._fail(job, "timeout", f"no answer in {job.waiting[0].seconds:g} s")
        finally:
            for key in list(self.selector.get_map().values()):  # interrupted: no late reply may answer another question
                _dismiss(key.data.slot)
                key.data.slot.seed = None
            self.selector.close()

    def _begin(self, job: _Job) -> None:
        job.tries += 1
        slot, job.waiting = job.slot, [job.question]
        if slot.child is None or not slot.child.alive:
            self.pool.restarts += slot.child is not None
            _dismiss(slot)
            slot.child = ChildProcess("opdkit.environments.worker", _PASSED_ON)
            job.waiting = [self._make(), *(self._replay(slot) if job.replays else []), job.question]
        self.selector.register(slot.child, selectors.EVENT_READ, job)
        self._send(job)

    def _make(self) -> _Request:
        kind = type(self.pool.source)
        message = {
            "make": f"{kind.__module__}:{kind.__qualname__}",
            "fields": parameters(self.pool.source),
            "path": sys.path,
        }
        return _Request(message, self.pool.limits.start, lambda value: value)

    def _replay(self, slot: _Slot) -> list[_Request]:
        """From the seed to where the episode was; a game that then shows something else is refused."""

        def same(decode: Callable[[Any], Any], text: str) -> Callable[[Any], Any]:
            def read(value: Any) -> Any:
                found = decode(value)
                if getattr(found, "observation", found).text != text:
                    raise ValueError("after a restart the game is not the same for the same seed and actions")
                return found

            return read

        limits = self.pool.limits
        reset = _Request({"reset": slot.seed}, limits.reset, same(decode_observation, slot.opening))
        return [reset, *(_Request({"step": a}, limits.step, same(decode_result, text)) for a, text in slot.steps)]

    def _send(self, job: _Job) -> None:
        assert job.slot.child is not None
        job.deadline = time.monotonic() + job.waiting[0].seconds
        try:
            job.slot.child.send(job.waiting[0].message)
        except OSError:
            self._fail(job, "crashed", "the process is gone")

    def _receive(self, job: _Job) -> None:
        assert job.slot.child is not None
        try:
            replies = job.slot.child.receive()
            if replies is None:
                self._fail(job, "crashed", "the process ended")
            elif len(replies) > 1:
                raise ValueError("more replies than requests")
            elif replies:
                self._read(job, replies[0])
        except UserError:
            raise
        except ValueError as error:
            self._fail(job, "nonsense", str(error))

    def _read(self, job: _Job, reply: Reply) -> None:
        if "refused" in reply:
            raise UserError(str(reply["refused"]))
        if "failed" in reply:
            self._fail(job, "crashed", str(reply["failed"]))
            return
        answer = job.waiting.pop(0).read(reply.get("ok"))
        if job.waiting:
            self._send(job)
            return
        job.answer = answer
        self.selector.unregister(job.slot.child)  # pyright: ignore

    def _fail(self, job: _Job, reason: str, detail: str) -> None:
        slot = job.slot
        starting = bool(job.waiting) and "make" in job.waiting[0].message
        self.selector.unregister(slot.child)  # pyright: ignore
        _dismiss(slot)
        if job.tries < _TRIES:
            self.pool.restarts += 1
            self._begin(job)
        elif starting:
            raise RunError(f"{self.pool.source.name}: the game does not start: {detail}")
        else:
            job.answer = Crash(reason, " ".join(detail.split()))
            slot.seed = None


def _dismiss(slot: _Slot) -> None:
    if slot.child is not None:
        with contextlib.suppress(OSError):
            slot.child.kill()
        slot.child = None
