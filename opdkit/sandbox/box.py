"""Runs one process of a program, and watches what it costs.

Made for a process of one thread: it starts children, and adopts and ends whatever those leave behind. Two may run
side by side; the end of one is the end of both.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from opdkit.sandbox.kernel import (
    children,
    descendants,
    far_end_closed,
    kill_all_of,
    resident_bytes,
)
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.starting import Job, start
from opdkit.sandbox.walls import Interpreter, Wall

_LOOK_SECONDS = 0.05
_KEPT_ERRORS = 4096
_SWEEP_SECONDS = 5.0
_MOST_REPORTS = 100


class ParentGoneError(Exception):
    """Nobody waits for the outcome any more."""


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        reason: "exit", "stopped" (by who asked for it), "time_limit", "memory_limit" or "output_limit".
        status: its exit status; 128 and the signal's number where one ended it.
        output: what it printed, in the mode `script`.
        errors: the end of what it wrote on standard error.
        reports: the lines that it reported, where `Box.run` waited for its end.
    """

    reason: str
    status: int
    output: bytes
    errors: bytes
    reports: Sequence[bytes] = ()


@dataclass(frozen=True)
class Box:
    """Where programs run.

    Attributes:
        wall: what keeps them in.
        interpreter: what runs them.
        limits: of each process.
        parent: a descriptor whose far end closes when nobody waits any more; None for none.
    """

    wall: Wall
    interpreter: Interpreter
    limits: Limits
    parent: int | None = None

    @contextlib.contextmanager
    def start(self, job: Job) -> Iterator[Running]:
        """One process, of which nothing is left afterwards."""
        with contextlib.ExitStack() as stack:
            folder = "/"
            if not self.wall.encloses:
                own = tempfile.TemporaryDirectory(prefix="opdkit-program-", ignore_cleanup_errors=True)
                folder = stack.enter_context(own)
                if self.wall.user is not None:
                    os.chown(folder, self.wall.user, self.wall.user)
            running = Running(self, job, folder)
            try:
                yield running
            finally:
                running.close()

    def run(self, job: Job) -> Ended:
        """One process up to its end. Raises ParentGoneError."""
        reports: list[bytes] = []
        with self.start(job) as running:
            late = running.deadline(job.tests)
            while len(reports) < _MOST_REPORTS and (line := running.next_report(late)) is not None:
                reports.append(line)
            return replace(running.end(), reports=reports)


class Running:
    """A process that was started, and what it has given so far."""

    def __init__(self, box: Box, job: Job, folder: str) -> None:
        self._box, self._job = box, job
        self._output, self._errors, self._reported, self._asked = bytearray(), bytearray(), bytearray(), bytearray()
        self._look, self._late = 0.0, 0.0
        self._reason = "exit"
        self._ended: Ended | None = None
        self._process, self._report, self._requests = start(job, box, folder)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._streams = {
            self._process.stdout.fileno(): self._printed,
            self._process.stderr.fileno(): self._complained,
            self._report: self._told,
        }
        self._exits = os.pidfd_open(self._process.pid)
        self._selector = selectors.DefaultSelector()
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)
        os.set_blocking(self._requests, False)
        self._selector.register(self._exits, selectors.EVENT_READ)

    def ask(self, line: bytes) -> None:
        """Hand over a request of the modes `serve` and `exam`; it goes out while the next report is waited for."""
        if not self._asked:
            self._selector.register(self._requests, selectors.EVENT_WRITE)
        self._asked += line + b"\n"

    def deadline(self, tests: int = 1) -> float:
        """When so many tests that begin now must be over, on the monotonic clock."""
        return time.monotonic() + tests * self._box.limits.wall_seconds

    def next_report(self, late: float) -> bytes | None:
        """The next line that it reports; None where it has ended, or is over a limit. late: when it must have come, on
        the monotonic clock. Raises ParentGoneError."""
        self._late = late
        while (line := self._line()) is None and self._ended is None and self._reason == "exit":
            ready = [key.fd for key, _ in self._selector.select(_LOOK_SECONDS)]
            for descriptor in ready:
                self._serve(descriptor)
            if self._exits in ready:
                self.end()
            else:
                self._reason = self._too_much() or self._over_limit() or "exit"
        return line if line is not None else self._line()

    def end(self) -> Ended:
        """End it where it has not, and all that came of it."""
        if self._ended is None:
            if self._reason == "exit" and self._process.poll() is None:
                self._reason = "stopped"
            self._sweep()
            status = self._process.wait()
            for descriptor in self._streams:
                while self._read(descriptor) and not self._too_much():
                    pass
            self._reason = self._too_much() or self._reason
            self._ended = Ended(
                self._reason, status if status >= 0 else 128 - status, bytes(self._output), bytes(self._errors)
            )
        return self._ended

    def close(self) -> None:
        """Leave nothing: no process, no open pipe."""
        self.end()
        self._selector.close()
        for descriptor in (self._report, self._requests, self._exits):
            os.close(descriptor)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _serve(self, descriptor: int) -> None:
        if descriptor == self._requests:
            try:
                del self._asked[: os.write(descriptor, self._asked)]
            except (BlockingIOError, BrokenPipeError) as error:
                if isinstance(error, BrokenPipeError):
                    self._asked.clear()
            if not self._asked:
                self._selector.unregister(descriptor)
        elif descriptor != self._exits and not self._read(descriptor):
            self._selector.unregister(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Take what has arrived; False where nothing more will, or does now."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            self._streams[descriptor](data)
        return bool(data)

    def _printed(self, data: bytes) -> None:
        if self._job.setup["mode"] == "script":  # else nobody looks at it
            self._output += data

    def _complained(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-_KEPT_ERRORS:]

    def _told(self, data: bytes) -> None:
        self._reported += data

    def _line(self) -> bytes | None:
        end = self._reported.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._reported[:end])
        del self._reported[: end + 1]
        return line

    def _too_much(self) -> str | None:
        most = max(len(self._output), len(self._reported))
        return "output_limit" if most > self._job.output_bytes + (1 << 16) else None

    def _over_limit(self) -> str | None:
        now = time.monotonic()
        if now < self._look:
            return None
        self._look = now + _LOOK_SECONDS
        if self._box.parent is not None and far_end_closed(self._box.parent):
            raise ParentGoneError
        if now > self._late:
            return "time_limit"
        held = sum(map(resident_bytes, descendants(self._process.pid)))
        return "memory_limit" if held > self._box.limits.memory_mb << 20 else None

    def _sweep(self) -> None:
        """End the process and everything that came of it, also what left its session: orphans are ours."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._box.wall.user is not None and not self._box.wall.encloses:
            kill_all_of(self._box.wall.user)
        give_up = time.monotonic() + _SWEEP_SECONDS
        while (left := descendants(os.getpid())) and time.monotonic() < give_up:
            for process in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            self._process.poll()
            for process in children(os.getpid()):
                if process != self._process.pid:
                    with contextlib.suppress(ChildProcessError):
                        os.waitpid(process, os.WNOHANG)
            time.sleep(0.001)
