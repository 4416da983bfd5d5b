"""Linux system calls and /proc: in-memory files and process trees."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Makes this process the parent of orphaned descendants, so that it can kill them."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def sealed_file(data: bytes) -> int:
    """A sealed in-memory file with `data`, positioned at its start."""
    descriptor = os.memfd_create("opdkit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def peer_closed(descriptor: int) -> bool:
    """Whether the other end of the pipe is closed. Consumes no data."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def children(process: int) -> list[int]:
    """The child processes of a process, including zombies."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(process: int) -> list[int]:
    """All descendants of a process, breadth first."""
    found = children(process)
    for child in found:
        found += children(child)
    return found


def resident_bytes(process: int) -> int:
    """Resident memory of a process, bytes."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def count_own_tasks() -> int:
    """Processes and threads of the current user, which the kernel counts towards a program's limit."""
    found = 0
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.stat().st_uid == os.getuid():
                found += sum(1 for _ in (place / "task").iterdir())
    return found


def kill_user(user: int) -> None:
    """Kills all processes of a user atomically, from a child that switches to that user."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.kill(-1, signal.SIGKILL)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
