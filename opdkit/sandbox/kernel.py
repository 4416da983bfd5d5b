"""What is asked of Linux: files in memory, and the processes that came of one."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import signal
from pathlib import Path

_ADOPT_ORPHANS = 36  # PR_SET_CHILD_SUBREAPER


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, so that it can end them."""
    if ctypes.CDLL(None, use_errno=True).prctl(_ADOPT_ORPHANS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def sealed_file(data: bytes) -> int:
    """A file in memory that holds `data` and can never hold anything else, at its start."""
    descriptor = os.memfd_create("opdkit", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def far_end_closed(descriptor: int) -> bool:
    """Whether the far end is gone. Asks for nothing else, so that no request is taken away."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def children(process: int) -> list[int]:
    """The processes that one started and that have not been waited for."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(process: int) -> list[int]:
    """The processes below one, the nearest first."""
    found = children(process)
    for child in found:
        found += children(child)
    return found


def resident_bytes(process: int) -> int:
    """Bytes of memory that a process holds now."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def own_tasks() -> int:
    """The processes and threads that this user has: the kernel counts a program's among them."""
    found = 0
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if place.stat().st_uid == os.getuid():
                found += sum(1 for _ in (place / "task").iterdir())
    return found


def kill_all_of(user: int) -> None:
    """End every process of a user, by a child that becomes that user: at once, whatever they fork meanwhile."""
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
