"""The worker process that runs algebra on answers: `python -m opdkit.grading.worker`.

It reads JSON requests from standard input and writes JSON replies, one per line. It loads math-verify once, then forks
a child that does the work under limits on CPU time, memory and files. A child that exceeds a limit is killed by the
kernel, even inside C code, and the request is retried once, alone in a new child: that child starts from the same
state in every run and is limited by a count of its work, so verdicts do not depend on timing. The worker exits at the
end of its input or when its parent is gone.

A request is one of

    {"kind": "algebra", "answer", "reference"}
    {"kind": "procedural", "dataset", "parameters", "seed", "size", "index", "answer"}
    {"kind": "instruction", "answer", "instruction", "arguments", "loose"}

and a reply is {"correct": bool, "status": "ok" | "timeout" | "crashed"}.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opdkit.processes.child import claim_pipes, next_line, write_all

CPU_SECONDS = 0.5  # first attempt, in a child that has answered other requests
WORK_UNITS = 400  # second attempt: generation-0 garbage collections, one per about 700 new objects; 1 to 4 seconds
RETRY_CPU_SECONDS = 4.0  # second attempt, for work inside C that creates no objects
WALL_SECONDS = 120.0  # both attempts, on a busy machine
MEMORY_BYTES = 1 << 30
_WARM_UP = (
    ("\\frac{x+1}{2}", "0.5x+\\frac{1}{2}"),
    ("\\{1,2\\}", "\\{2,1\\}"),
    ("(1,3]", "[1,3)"),
    ("(-\\infty,2)\\cup(3,5)", "x<2"),
    ("2\\sqrt{3}+\\pi", "3-4i"),
    ("\\begin{pmatrix} 1 \\\\ -\\frac{2}{3} \\end{pmatrix}", "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}"),
    ("y = x^{2}-3x+1", "(x+1)(x-4)"),
    ("\\left(2,\\frac{\\pi}{3}\\right)", "\\sin\\frac{\\pi}{3}"),
    ("2^{10}\\cdot 3!", "\\binom{5}{2}"),
    ("3 \\pm \\sqrt{2}", "\\log_{2} 5"),
    # Inputs for which sympy lazily imports modules (such as numpy) that a confined process could not load.
    ("\\sum_{k=0}^{\\infty} \\frac{1}{2^k}", "\\sum_{n=1}^{\\infty} \\frac{1}{n^2}"),
    ("\\int_0^1 x^2 dx", "\\prod_{k=1}^{3} k"),
    ("\\lim_{x\\to 0} \\frac{\\sin x}{x}", "2"),
    ("|x-1|<2", "-1<x<3"),
    ("\\max(1,2)", "\\gcd(4,6)"),
)
_FORBIDDEN = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "pty.", "ftplib.", "http.", "urllib.")
_ALLOWED = frozenset(("os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr"))

_MODULES = {
    "algebra": "opdkit.grading.equivalence",
    "procedural": "opdkit.grading.procedural_scoring",
    "instruction": "opdkit.grading.instruction_checks",
}
"""Kind of request -> the module with its `decision`, loaded at the first such request."""


@dataclass
class _Child:
    pid: int
    requests: int
    replies: int


def main() -> None:
    """Serves requests until the end of standard input."""
    source, sink = claim_pipes()
    _load()
    parent = os.getppid()
    child = _fork((source, sink), retry=False)
    write_all(sink, b'{"ready": true}\n')
    buffer = bytearray()
    while (line := next_line(source, buffer, parent)) is not None:
        if _loads_module(line):
            _bury(child)
            child = _fork((source, sink), retry=False)
        reply = _ask(child, line)
        if reply["status"] != "ok":
            _bury(child)
            reply = _ask_alone(line, (source, sink))
            child = _fork((source, sink), retry=False)
        write_all(sink, json.dumps(reply).encode() + b"\n")
    _bury(child)


def _load() -> None:
    """Imports and exercises everything that answers may need, so that it does not count against a child's limits."""
    importlib.import_module("numpy")
    for answer, reference in _WARM_UP:
        with contextlib.suppress(Exception):
            _decision({"kind": "algebra", "answer": answer, "reference": reference})()
    gc.collect()
    gc.freeze()


def _ask_alone(line: bytes, close: tuple[int, ...]) -> dict[str, Any]:
    """The reply of a child that answers only this request."""
    child = _fork(close, retry=True)
    reply = _ask(child, line)
    _bury(child)
    return reply


def _loads_module(line: bytes) -> bool:
    """Loads the kind's module here if needed, so that it does not count against a child's limits; whether it did."""
    name = _MODULES.get(json.loads(line)["kind"])
    if name is None or name in sys.modules:
        return False
    importlib.import_module(name)
    return True


def _ask(child: _Child, line: bytes) -> dict[str, Any]:
    """The child's reply, or the reason there is none."""
    try:
        write_all(child.requests, line)
    except BrokenPipeError:
        return {"correct": False, "status": "crashed"}
    readable, _, _ = select.select([child.replies], [], [], WALL_SECONDS)
    if not readable:
        return {"correct": False, "status": "timeout"}
    data = os.read(child.replies, 1 << 16)
    if data:
        return json.loads(data)
    _, status = os.waitpid(child.pid, 0)
    child.pid = 0
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    return {"correct": False, "status": "timeout" if killed_by in (signal.SIGPROF, signal.SIGXCPU) else "crashed"}


def _bury(child: _Child) -> None:
    if child.pid:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
    os.close(child.requests)
    os.close(child.replies)


def _fork(close: tuple[int, ...], retry: bool) -> _Child:
    request_end, requests = os.pipe()
    replies, reply_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            for descriptor in (*close, requests, replies):
                os.close(descriptor)
            _work(request_end, reply_end, retry)
        finally:
            os._exit(1)
    os.close(request_end)
    os.close(reply_end)
    return _Child(pid, requests, replies)


def _work(source: int, sink: int, retry: bool) -> None:
    """The child's main loop: several requests with a CPU limit each, or a single one."""
    _confine()
    seconds = RETRY_CPU_SECONDS if retry else CPU_SECONDS
    with open(source, "rb", closefd=False) as lines:
        for line in lines:
            try:
                decide = _decision(json.loads(line))
                signal.setitimer(signal.ITIMER_PROF, seconds)
                if retry:
                    _count_work()
                reply = {"correct": decide(), "status": "ok"}
            except Exception:
                reply = {"correct": False, "status": "crashed"}
            signal.setitimer(signal.ITIMER_PROF, 0)
            write_all(sink, json.dumps(reply).encode() + b"\n")


def _count_work() -> None:
    """Ends this process, as its timer would, after a fixed amount of further work."""
    left = WORK_UNITS

    def count(phase: str, _: dict[str, int]) -> None:
        nonlocal left
        left -= phase == "start"
        if left < 0:
            signal.raise_signal(signal.SIGPROF)

    gc.collect()
    gc.callbacks.append(count)


def _decision(request: dict[str, Any]) -> Callable[[], bool]:
    """The decision function of a request; trusted setup is done before the clock starts."""
    return importlib.import_module(_MODULES[request["kind"]]).decision(request)


def _confine() -> None:
    """Restricts the rest of this process: memory limit, no core dumps, file writes, commands or network."""
    import resource

    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name, limit in (("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_CORE", 0), ("RLIMIT_FSIZE", 0), ("RLIMIT_NPROC", 0)):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, name), (limit, limit))
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook, the second line of defence: even if an answer executes code, the code can do nothing."""
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        writes = isinstance(mode, str) and set(mode) & set("wax+")
        if writes or (isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)):
            raise PermissionError("a grading process writes no file")
    elif event.startswith(_FORBIDDEN) and event not in _ALLOWED:
        raise PermissionError(f"a grading process may not use {event}")


if __name__ == "__main__":
    main()
