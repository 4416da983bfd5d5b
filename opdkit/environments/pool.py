"""Runs games in parallel, each in a process that may hang, crash or misbehave without harming the run."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from opdkit.environments.base import Crash, EnvironmentSource, Observation, StepResult
from opdkit.environments.chat import parameters
from opdkit.environments.wire import decode_gold, decode_observation, decode_result
from opdkit.errors import RunError, UserError
from opdkit.processes.child import ChildProcess, Reply
from opdkit.processes.pool import Conversation, ProcessPool, converse

Answer = TypeVar("Answer")

_PASSED_ON = ("JAVA_HOME", "JAVA_TOOL_OPTIONS", "ALFWORLD_DATA")
_TRIES = 2


@dataclass(frozen=True)
class TimeLimits:
    """Timeouts of a game in seconds: to start, to begin an episode, and per action."""

    start: float = 180.0
    reset: float = 120.0
    step: float = 60.0


@dataclass
class _Slot:
    """One episode slot: its process, and the actions since the reset, for replay after a crash."""

    child: ChildProcess | None = None
    seed: int | None = None
    opening: str = ""
    steps: list[tuple[str, str]] = field(default_factory=list)
    done: bool = False

    def dismiss(self) -> None:
        """Ends the process, if any."""
        if self.child is not None:
            with contextlib.suppress(OSError):
                self.child.kill()
            self.child = None


@dataclass(frozen=True)
class _Request:
    """A request, its timeout, and the decoder of its reply (raises ValueError if malformed)."""

    message: dict[str, Any]
    seconds: float
    read: Callable[[Any], Any]


class EnvironmentPool(ProcessPool):
    """`slots` parallel episodes of `source`; slots are numbered from 0 and their processes start at first use.

    Calls take one request per slot and answer them together. A process that dies, exceeds its timeout or sends a
    malformed reply is replaced and the episode replayed from its seed; if that also fails, or the game differs, the
    answer is a `Crash`. Raises RunError if a game's process cannot be started at all, UserError for what the game
    rejects (an unknown parameter, a file).
    `seconds` is the time waited for games so far, `restarts` counts replaced processes. All processes end with
    `close`, with this process, and when this process is killed.
    """

    def __init__(self, source: EnvironmentSource, slots: int, limits: TimeLimits | None = None) -> None:
        super().__init__()
        self.source = source
        self.limits = limits or TimeLimits()
        self.seconds = 0.0
        self.restarts = 0
        self._slots = [_Slot() for _ in range(slots)]

    def __len__(self) -> int:
        return len(self._slots)

    def reset(self, seeds: Sequence[tuple[int, int]]) -> list[Observation | Crash]:
        """Starts an episode in each (slot, seed)."""
        jobs: list[_Job] = []
        for number, seed in seeds:
            slot = self._slots[number]
            slot.seed, slot.steps, slot.done = seed, [], False
            jobs.append(
                _Job(self, slot, _Request({"reset": seed}, self.limits.reset, decode_observation), replays=False)
            )
        answers: list[Observation | Crash] = self._exchange(jobs)
        for job, answer in zip(jobs, answers, strict=True):
            job.slot.opening = answer.text if isinstance(answer, Observation) else ""
        return answers

    def step(self, actions: Sequence[tuple[int, str]]) -> list[StepResult | Crash]:
        """Performs an action in each (slot, action)."""
        jobs = [
            _Job(self, self._playing(number), _Request({"step": action}, self.limits.step, decode_result), replays=True)
            for number, action in actions
        ]
        answers: list[StepResult | Crash] = self._exchange(jobs)
        for (_, action), job, answer in zip(actions, jobs, answers, strict=True):
            if isinstance(answer, StepResult):
                job.slot.steps.append((action, answer.observation.text))
                job.slot.done = answer.done
        return answers

    def gold(self, slots: Sequence[int]) -> list[tuple[str, ...] | Crash | None]:
        """The gold path of each slot's episode, None if the game has none."""
        question = _Request({"gold": None}, self.limits.reset, decode_gold)
        return self._exchange([_Job(self, self._begun(number), question, replays=True) for number in slots])

    def children(self) -> Iterable[ChildProcess]:
        return [slot.child for slot in self._slots if slot.child is not None]

    def end_children(self) -> None:
        for slot in self._slots:
            slot.dismiss()
            slot.seed = None

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
            converse(jobs)
        finally:
            self.seconds += time.perf_counter() - begun
        return [job.answer for job in jobs]


class _Job(Conversation):
    """One slot's part of a call: pending requests (replay first), the last of which is the actual request."""

    def __init__(self, pool: EnvironmentPool, slot: _Slot, question: _Request, replays: bool) -> None:
        super().__init__()
        self.slot = slot
        self.answer: Any = None
        self._pool, self._question, self._replays = pool, question, replays
        self._waiting: list[_Request] = []
        self._tries = 0

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def begin(self) -> None:
        """Sends to the slot's process, or to a new one after replaying the episode."""
        self._tries += 1
        pool, slot, self._waiting = self._pool, self.slot, [self._question]
        if slot.child is None or not slot.child.alive:
            pool.restarts += slot.child is not None
            slot.dismiss()
            slot.child = ChildProcess("opdkit.environments.worker", _PASSED_ON)
            replayed = _replay(slot, pool.limits) if self._replays else []
            self._waiting = [_make(pool), *replayed, self._question]
        self.child = slot.child
        self._send()

    def receive(self, reply: Reply) -> None:
        if not self._waiting:
            raise ValueError("more replies than requests")
        if "refused" in reply:
            raise UserError(str(reply["refused"]))
        if "failed" in reply:
            self.fail("crashed", str(reply["failed"]))
            return
        answer = self._waiting[0].read(reply.get("ok"))
        del self._waiting[0]
        if self._waiting:
            self._send()
        else:
            self.answer = answer

    def fail(self, reason: str, detail: str) -> None:
        starting = bool(self._waiting) and "make" in self._waiting[0].message
        self.slot.dismiss()
        if self._tries < _TRIES:
            self._pool.restarts += 1
            self.begin()
        elif starting:
            raise RunError(f"{self._pool.source.name}: the game does not start: {detail}")
        else:
            late = f"no answer in {self._waiting[0].seconds:g} s" if reason == "timeout" else detail
            self.answer = Crash(reason, " ".join(late.split()))
            self.slot.seed = None
            self._waiting = []

    def abandon(self) -> None:
        self.slot.dismiss()
        self.slot.seed = None
        self._waiting = []

    def _send(self) -> None:
        assert self.child is not None
        self.deadline = time.monotonic() + self._waiting[0].seconds
        try:
            self.child.send(self._waiting[0].message)
        except OSError:
            self.fail("crashed", "the process is gone")


def _make(pool: EnvironmentPool) -> _Request:
    kind = type(pool.source)
    message = {
        "make": f"{kind.__module__}:{kind.__qualname__}",
        "fields": parameters(pool.source),
        "path": sys.path,
    }
    return _Request(message, pool.limits.start, lambda value: value)


def _replay(slot: _Slot, limits: TimeLimits) -> list[_Request]:
    """Requests that replay the episode from its seed; a game that then differs is rejected."""

    def same(decode: Callable[[Any], Any], text: str) -> Callable[[Any], Any]:
        def read(value: Any) -> Any:
            found = decode(value)
            if getattr(found, "observation", found).text != text:
                raise ValueError("after a restart the game is not the same for the same seed and actions")
            return found

        return read

    reset = _Request({"reset": slot.seed}, limits.reset, same(decode_observation, slot.opening))
    return [reset, *(_Request({"step": a}, limits.step, same(decode_result, text)) for a, text in slot.steps)]
