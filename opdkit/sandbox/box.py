"""Runs one process of a program to its end, and watches what it costs.

Made for a process of one thread: it starts children, and adopts and ends whatever those leave behind.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opdkit.sandbox.kernel import (
    children,
    descendants,
    far_end_closed,
    kill_all_of,
    own_tasks,
    resident_bytes,
    sealed_file,
)
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.walls import Interpreter, Wall

_INSIDE = (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
_LOOK_SECONDS = 0.05
_KEPT_ERRORS = 4096
_SWEEP_SECONDS = 5.0


class ParentGoneError(Exception):
    """Nobody waits for the outcome any more."""


@dataclass(frozen=True)
class Job:
    """One process of a program.

    Attributes:
        setup: what `inside` reads: mode, program, prelude, setup, function, calls.
        tests: how often the time of a test is granted.
        stdin: what the program may read.
        secret: of the mode `checks`: the assertions, and the token.
        output_bytes: how much it may print, and report at a time.
        report: told each line that the process reports; False ends the run.
    """

    setup: Mapping[str, Any]
    tests: int = 1
    stdin: bytes = b""
    secret: Sequence[bytes] = ()
    output_bytes: int = 1 << 16
    report: Callable[[bytes], bool] = field(default=lambda line: True)


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes:
        reason: "exit", "stopped", "time_limit", "memory_limit" or "output_limit".
        status: its exit status; 128 and the signal's number where one ended it.
        output: what it printed.
        errors: the end of what it wrote on standard error.
    """

    reason: str
    status: int
    output: bytes
    errors: bytes


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

    def run(self, job: Job) -> Ended:
        """One process, from its start until nothing of it is left. Raises ParentGoneError."""
        if self.wall.encloses:
            return self._run(job, "/")
        with tempfile.TemporaryDirectory(prefix="opdkit-program-", ignore_cleanup_errors=True) as folder:
            if self.wall.user is not None:
                os.chown(folder, self.wall.user, self.wall.user)
            return self._run(job, folder)

    def _run(self, job: Job, folder: str) -> Ended:
        run = _Run(self, job, folder)
        try:
            return run.wait()
        finally:
            run.end()


class _Run:
    """A process that was started, and what it has given so far."""

    def __init__(self, box: Box, job: Job, folder: str) -> None:
        self._box, self._job = box, job
        self._output, self._errors, self._reported = bytearray(), bytearray(), bytearray()
        self._steps, self._swept, self._look = 0, False, 0.0
        report, far_end = os.pipe()
        files = [sealed_file(json.dumps(self._setup()).encode()), *(sealed_file(data) for data in job.secret)]
        stdin = sealed_file(job.stdin)
        known = box.wall.filter
        filters = [] if known is None else [sealed_file(known)]
        wall = box.wall.command(box.interpreter, box.limits.files_mb, filters[0] if filters else None)
        words = [*wall, *box.interpreter.command(), _INSIDE]
        try:
            self._process = subprocess.Popen(
                [*words, str(files[0]), str(far_end), *map(str, files[1:])],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=box.wall.environment(folder),
                cwd=folder,
                pass_fds=(far_end, *files, *filters),
                start_new_session=True,
            )
        except OSError:
            os.close(report)
            raise
        finally:
            for descriptor in (far_end, stdin, *files, *filters):
                os.close(descriptor)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._streams = {self._process.stdout.fileno(): self._printed, self._process.stderr.fileno(): self._complained}
        self._streams[report] = self._told
        self._report = report
        self._late = time.monotonic() + box.limits.wall_seconds

    def wait(self) -> Ended:
        """Serve the process until it ends, or a limit or the judge ends it."""
        exits = os.pidfd_open(self._process.pid)
        reason = "exit"
        with contextlib.closing(selectors.DefaultSelector()) as selector:
            for descriptor in self._streams:
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            selector.register(exits, selectors.EVENT_READ)
            try:
                while reason == "exit":
                    ready = [key.fd for key, _ in selector.select(_LOOK_SECONDS)]
                    for descriptor in ready:
                        if descriptor != exits and not self._read(descriptor):
                            selector.unregister(descriptor)
                    if exits in ready:
                        break
                    reason = self._stopped() or self._over_limit() or "exit"
            finally:
                os.close(exits)
        self._sweep()
        status = self._process.wait()
        for descriptor in self._streams:
            while self._read(descriptor):
                pass
        reason = self._stopped() or reason
        return Ended(reason, status if status >= 0 else 128 - status, bytes(self._output), bytes(self._errors))

    def end(self) -> None:
        """Leave nothing: no process, no open pipe."""
        self._sweep()
        self._process.wait()
        os.close(self._report)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()

    def _setup(self) -> dict[str, Any]:
        limits, wall = self._box.limits, self._box.wall
        told = {"program": "", "prelude": "", "setup": [], "function": "", "calls": [], **self._job.setup}
        return told | {
            "limits": {
                "seconds": limits.seconds,
                "memory_mb": limits.memory_mb,
                "processes": limits.processes + (0 if wall.encloses or wall.user is not None else own_tasks()),
                "files_mb": limits.files_mb,
            },
            "tests": self._job.tests,
            "user": wall.user,
            "writable": list(wall.writable),
            "parent_ends_it": not wall.encloses,
            "packages": list(self._box.interpreter.packages),
        }

    def _read(self, descriptor: int) -> bool:
        """Take what has arrived; False where nothing more will, or does now."""
        try:
            data = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return False
        if data:
            self._streams[descriptor](data)
        return bool(data) and self._stopped() is None

    def _printed(self, data: bytes) -> None:
        if self._job.setup["mode"] == "script":  # else nobody looks at it
            self._output += data

    def _complained(self, data: bytes) -> None:
        self._errors = (self._errors + data)[-_KEPT_ERRORS:]

    def _told(self, data: bytes) -> None:
        self._reported += data
        while self._steps >= 0 and (end := self._reported.find(b"\n")) >= 0:
            line = bytes(self._reported[:end])
            del self._reported[: end + 1]
            self._steps += 1
            if self._steps <= self._job.tests:
                self._late = time.monotonic() + self._box.limits.wall_seconds
            if not self._job.report(line):
                self._steps = -1

    def _stopped(self) -> str | None:
        """Why no more is read from it."""
        if self._steps < 0:
            return "stopped"
        if max(len(self._output), len(self._reported)) > self._job.output_bytes:
            return "output_limit"
        return None

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
        if self._swept:
            return
        self._swept = True
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
