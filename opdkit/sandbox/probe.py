"""Probes whether the sandbox actually isolates programs on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from opdkit.sandbox.isolation import Bubblewrap, LimitsOnly
from opdkit.sandbox.launch import Job
from opdkit.sandbox.runner import Runner

_PROGRAM = """
import json, os, resource, socket, time

found = []
for place in ("/", "/usr", "/dev", "/dev/shm", os.path.dirname(os.__file__)):
    try:
        name = os.path.join(place, "opdkit-probe-" + str(os.getpid()))
        open(name, "x").close()
    except OSError:
        continue
    os.unlink(name)
    found.append("a file could be written in " + place)
try:
    resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY,) * 2)
    found.append("limits could be raised")
except (ValueError, OSError):
    pass
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 9))
    found.append("the network is reachable")
except OSError:
    pass
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 4:
    found.append("other processes are visible")
children, failed = [], False
for _ in range(PROCESSES + 2):
    try:
        child = os.fork()
    except OSError:
        failed = True
        break
    if child == 0:
        time.sleep(5)
        os._exit(0)
    children.append(child)
for child in children:
    os.kill(child, 9)
    os.waitpid(child, 0)
if not failed:
    found.append("processes are not counted")
print(json.dumps(found))
"""
_NAMESPACE_FAILURES = ("a file could", "the network is reachable", "other processes")


def isolation_failure(runner: Runner) -> str | None:
    """Why programs must not be run with this runner, in one line; None if isolation works."""
    isolation = runner.isolation
    program = _PROGRAM.replace("PROCESSES", str(runner.limits.processes))
    if isinstance(isolation, LimitsOnly) and isolation.user is not None:
        hidden = _hidden(runner.interpreter.executable)
        if hidden:
            return (
                f"programs of root's runs get their own user, who may not read {hidden}; "
                "set python= to a world-readable interpreter (/usr/bin/python3)"
            )
    ended = runner.run(Job({"mode": "script", "program": program}))
    try:
        found: list[str] = json.loads(ended.output)
    except ValueError:
        last = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        starter = "bwrap does not start" if isinstance(isolation, Bubblewrap) else "the interpreter does not start"
        return f"{starter}: {last or ended.reason}"
    if isinstance(isolation, LimitsOnly):
        found = [failure for failure in found if not failure.startswith(_NAMESPACE_FAILURES)]
    return f"the sandbox does not isolate on this machine: {'; '.join(found)}" if found else None


def _hidden(path: str) -> str | None:
    """The first parent folder of `path` that is not world-accessible."""
    return next((str(above) for above in reversed(Path(path).parents) if not above.stat().st_mode & 0o001), None)
