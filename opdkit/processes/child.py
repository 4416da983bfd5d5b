"""Python modules as child processes with JSON-lines pipes: the parent's and the child's side.

No pickle is exchanged. A child has its own session, so that it is killed with all its descendants, and gets only a few
environment variables. Every child imports this module: standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Reply = dict[str, Any]

_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "VIRTUAL_ENV")
_LARGEST_REPLY = 1 << 26
_PARENT_CHECK_SECONDS = 2.0


class ChildProcess:
    """`python -m module`, started on construction; requests and replies are JSON objects, one per line."""

    def __init__(self, module: str, passed_on: Sequence[str] = ()) -> None:
        root = str(Path(__file__).resolve().parents[2])
        environment = {name: os.environ[name] for name in (*_PASSED_ON, *passed_on) if name in os.environ}
        environment |= {"PYTHONPATH": root, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd=root,
            start_new_session=True,  # Ctrl-C in the terminal is for the run, which finishes its step first
        )
        self._buffer = bytearray()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests, self._replies = self._process.stdin, self._process.stdout

    @property
    def pid(self) -> int:
        """The child's process id and process group id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it is still running."""
        return self._process.poll() is None

    def fileno(self) -> int:
        """Descriptor of the replies, for a selector."""
        return self._replies.fileno()

    def send(self, request: Mapping[str, Any]) -> None:
        """Sends one request. Raises OSError if the child is gone."""
        self._requests.write(json.dumps(request).encode() + b"\n")
        self._requests.flush()

    def receive(self) -> list[Reply] | None:
        """The available replies, after the selector reported data; None at the end.

        Raises ValueError for invalid JSON objects and overlong lines.
        """
        data = os.read(self._replies.fileno(), 1 << 16)
        if not data:
            return None
        self._buffer += data
        if len(self._buffer) > _LARGEST_REPLY:
            raise ValueError(f"a reply of more than {_LARGEST_REPLY} bytes")
        if b"\n" not in data:
            return []
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer = bytearray(rest)
        replies = [json.loads(line) for line in lines]
        if not all(isinstance(reply, dict) for reply in replies):
            raise ValueError("a reply that is no object")
        return replies

    def kill(self) -> None:
        """Kills it with all its descendants and waits for it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._requests, self._replies):
            with contextlib.suppress(OSError):
                pipe.close()


def claim_pipes() -> tuple[int, int]:
    """Duplicates the request and reply descriptors, so that library output can't mix with replies."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    return source, sink


def next_line(source: int, buffer: bytearray, parent: int) -> bytes | None:
    """The next complete line of `source`; None at its end or when this process is orphaned."""
    while (end := buffer.find(b"\n")) < 0:
        readable, _, _ = select.select([source], [], [], _PARENT_CHECK_SECONDS)
        if not readable:
            if os.getppid() != parent:
                return None
            continue
        data = os.read(source, 1 << 16)
        if not data:
            return None
        buffer += data
    line = bytes(buffer[: end + 1])
    del buffer[: end + 1]
    return line


def write_all(descriptor: int, data: bytes) -> None:
    """Writes all of `data`."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
