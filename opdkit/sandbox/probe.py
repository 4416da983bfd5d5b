"""Finds out, by trying, whether a box holds what it promises on this machine."""

from __future__ import annotations

import json
from pathlib import Path

from opdkit.sandbox.box import Box, Job
from opdkit.sandbox.walls import Bubblewrap, LimitsOnly

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
    found.append("there is a network")
except OSError:
    pass
if len([name for name in os.listdir("/proc") if name.isdigit()]) > 4:
    found.append("other processes can be seen")
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
_OF_A_WALL = ("a file could", "there is a network", "other processes")


def holes(box: Box) -> str | None:
    """Why programs must not run in this box, in one line; None where it holds."""
    wall = box.wall
    program = _PROGRAM.replace("PROCESSES", str(box.limits.processes))
    if isinstance(wall, LimitsOnly) and wall.user is not None:
        hidden = _hidden(box.interpreter.executable)
        if hidden:
            return (
                f"programs of root's runs are given to a user of their own, who may not read {hidden}; "
                "set python= to an interpreter that everybody may read (/usr/bin/python3)"
            )
    ended = box.run(Job({"mode": "script", "program": program}))
    try:
        found: list[str] = json.loads(ended.output)
    except ValueError:
        last = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
        starter = "bwrap does not start here" if isinstance(wall, Bubblewrap) else "the interpreter does not start"
        return f"{starter}: {last or ended.reason}"
    if isinstance(wall, LimitsOnly):
        found = [hole for hole in found if not hole.startswith(_OF_A_WALL)]
    return f"the sandbox does not hold here: {'; '.join(found)}" if found else None


def _hidden(path: str) -> str | None:
    """The folder on the way to `path` that not everybody may enter."""
    return next((str(above) for above in reversed(Path(path).parents) if not above.stat().st_mode & 0o001), None)
