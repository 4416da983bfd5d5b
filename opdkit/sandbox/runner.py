"""Runs one process of a program and enforces its limits.

For single-threaded processes: it starts children, and adopts and kills their orphans. Two may run in parallel, but
ending one ends both.
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

from opdkit.sandbox.isolation import Interpreter, Isolation
from opdkit.sandbox.launch import Job, start
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.linux import (
    children,
    descendants,
    kill_user,
    peer_closed,
    resident_bytes,
)

_CHECK_SECONDS = 0.05
_STDERR_BYTES = 4096
_KILL_SECONDS = 5.0
_MAX_REPORTS = 100


class ParentGoneError(Exception):
    """The requesting process is gone."""


@dataclass(frozen=True)
class ProcessResult:
    """How a process ended.

    Attributes:
        reason: "exit", "stopped" (by the caller), "time_limit", "memory_limit" or "output_limit".
        status: exit status; 128 plus the signal number if killed by a signal.
        output: standard output, in mode `script`.
        errors: the tail of standard error.
        reports: the reported lines, if from `Runner.run`.
    """

    reason: str
    status: int
    output: bytes
    errors: bytes
    reports: Sequence[bytes] = ()


@dataclass(frozen=True)
class Runner:
    """Runs programs in a sandbox.

    Attributes:
        isolation: their isolation.
        interpreter: their interpreter.
        limits: limits of each process.
        parent: a descriptor whose other end closes when the requesting process is gone; None for none.
    """

    isolation: Isolation
    interpreter: Interpreter
    limits: Limits
    parent: int | None = None

    @contextlib.contextmanager
    def start(self, job: Job) -> Iterator[RunningProcess]:
        """Context manager of one process, which is fully cleaned up at the end."""
        with contextlib.ExitStack() as stack:
            folder = "/"
            if not self.isolation.pid_namespace:
                own = tempfile.TemporaryDirectory(prefix="opdkit-program-", ignore_cleanup_errors=True)
                folder = stack.enter_context(own)
                if self.isolation.user is not None:
                    os.chown(folder, self.isolation.user, self.isolation.user)
            running = RunningProcess(self, job, folder)
            try:
                yield running
            finally:
                running.close()

    def run(self, job: Job) -> ProcessResult:
        """Runs one process to its end. Raises ParentGoneError."""
        reports: list[bytes] = []
        with self.start(job) as running:
            deadline = running.deadline(job.tests)
            while len(reports) < _MAX_REPORTS and (line := running.next_report(deadline)) is not None:
                reports.append(line)
            return replace(running.end(), reports=reports)


class RunningProcess:
    """A running process and its output so far."""

    def __init__(self, runner: Runner, job: Job, folder: str) -> None:
        self._runner, self._job = runner, job
        self._output, self._errors, self._reported, self._outgoing = bytearray(), bytearray(), bytearray(), bytearray()
        self._next_check, self._deadline = 0.0, 0.0
        self._reason = "exit"
        self._result: ProcessResult | None = None
        self._process, self._report, self._requests = start(job, runner, folder)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._streams = {
            self._process.stdout.fileno(): self._on_stdout,
            self._process.stderr.fileno(): self._on_stderr,
            self._report: self._on_report,
        }
        self._pidfd = os.pidfd_open(self._process.pid)
        self._selector = selectors.DefaultSelector()
        for descriptor in self._streams:
            os.set_blocking(descriptor, False)
            self._selector.register(descriptor, selectors.EVENT_READ)
        os.set_blocking(self._requests, False)
        self._selector.register(self._pidfd, selectors.EVENT_READ)

    def ask(self, line: bytes) -> None:
        """Queues a request for modes `serve` and `exam`; it is sent while waiting for the next report."""
        if not self._outgoing:
            self._selector.register(self._requests, selectors.EVENT_WRITE)
        self._outgoing += line + b"\n"

    def deadline(self, tests: int = 1) -> float:
        """The deadline of that many tests starting now, on the monotonic clock."""
        return time.monotonic() + tests * self._runner.limits.wall_seconds

    def next_report(self, deadline: float) -> bytes | None:
        """The next reported line; None if the process has ended or exceeds a limit. deadline: on the monotonic clock.
        Raises ParentGoneError."""
        self._deadline = deadline
        while (line := self._line()) is None and self._result is None and self._reason == "exit":
            ready = [key.fd for key, _ in self._selector.select(_CHECK_SECONDS)]
            for descriptor in ready:
                self._handle(descriptor)
            if self._pidfd in ready:
                self.end()
            else:
                self._reason = self._over_output_limit() or self._over_limit() or "exit"
        return line if line is not None else self._line()

    def end(self) -> ProcessResult:
        """Ends the process, if it has not ended, and all its descendants."""
        if self._result is None:
            if self._reason == "exit" and self._process.poll() is None:
                self._reason = "stopped"
            self._kill_all()
            status = self._process.wait()
            for descriptor in self._streams:
                while self._read(descriptor) and not self._over_output_limit():
                    pass
            self._reason = self._over_output_limit() or self._reason
            self._result = ProcessResult(
                self._reason, status if status >= 0 else 128 - status, bytes(self._output), bytes(self._errors)
            )
        return self._result

    def close(self) -> None:
        """Ends the process and closes all pipes."""
        self.end()
        self._selector.close()
        for descriptor in (self._report, self._requests, self._pidfd):
            os.close(descriptor)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _handle(self, descriptor: int) -> None:
        if descriptor == self._requests:
            try:
                del self._outgoing[: os.write(descriptor, self._outgoing)]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                self._outgoing.clear()
            if not self._outgoing:
                self._selector.unregister(descriptor)
        elif descriptor != self._pidfd and not self._read(descriptor):
            self._selector.unregister(descriptor)

    def _read(self, descriptor: int) -> bool:
        """Reads available data; False if there is none now or at the end."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            self._streams[descriptor](data)
        return bool(data)

    def _on_stdout(self, data: bytes) -> None:
        if self._job.setup["mode"] == "script":  # otherwise unused
            self._output += data

    def _on_stderr(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-_STDERR_BYTES:]

    def _on_report(self, data: bytes) -> None:
        self._reported += data

    def _line(self) -> bytes | None:
        end = self._reported.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._reported[:end])
        del self._reported[: end + 1]
        return line

    def _over_output_limit(self) -> str | None:
        most = max(len(self._output), len(self._reported))
        return "output_limit" if most > self._job.output_bytes + (1 << 16) else None

    def _over_limit(self) -> str | None:
        now = time.monotonic()
        if now < self._next_check:
            return None
        self._next_check = now + _CHECK_SECONDS
        if self._runner.parent is not None and peer_closed(self._runner.parent):
            raise ParentGoneError
        if now > self._deadline:
            return "time_limit"
        held = sum(map(resident_bytes, descendants(self._process.pid)))
        return "memory_limit" if held > self._runner.limits.memory_mb << 20 else None

    def _kill_all(self) -> None:
        """Kills the process and all descendants, even outside its session: orphans are adopted by us."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        if self._runner.isolation.user is not None and not self._runner.isolation.pid_namespace:
            kill_user(self._runner.isolation.user)
        give_up = time.monotonic() + _KILL_SECONDS
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
