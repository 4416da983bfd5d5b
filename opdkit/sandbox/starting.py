"""Starts one process of a program: what it is told, and the files and pipes that it holds."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from opdkit.sandbox.kernel import own_tasks, sealed_file
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.script import SCRIPT
from opdkit.sandbox.walls import Interpreter, Wall


@dataclass(frozen=True)
class Job:
    """One process of a program.

    Attributes:
        setup: what `inside` reads: mode, program, prelude, setup, function; names and exams.
        tests: how often the time of a test is granted.
        stdin: what the program may read.
        secret: of the mode `checks`: the assertions, and the token.
        output_bytes: how much it may print, and report at a time.
    """

    setup: Mapping[str, Any]
    tests: int = 1
    stdin: bytes = b""
    secret: Sequence[bytes] = ()
    output_bytes: int = 1 << 16


class Place(Protocol):
    """Where a process is started."""

    @property
    def wall(self) -> Wall: ...

    @property
    def interpreter(self) -> Interpreter: ...

    @property
    def limits(self) -> Limits: ...


def start(job: Job, place: Place, folder: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, where it reports, and where it takes requests."""
    report, far_report = os.pipe()
    far_requests, requests = os.pipe()
    files = [sealed_file(data) for data in (_setup(place, job), *job.secret)]
    stdin = sealed_file(job.stdin)
    filters = [] if place.wall.filter is None else [sealed_file(place.wall.filter)]
    wall = place.wall.command(place.interpreter, place.limits.files_mb, filters[0] if filters else None)
    told = [files[0], far_report, far_requests, *files[1:]]
    try:
        process = subprocess.Popen(
            [*wall, *place.interpreter.command(), SCRIPT, *map(str, told)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=place.wall.environment(folder),
            cwd=folder,
            pass_fds=(*told, *filters),
            start_new_session=True,
        )
    except OSError:
        os.close(report)
        os.close(requests)
        raise
    finally:
        for descriptor in (*told, stdin, *filters):
            os.close(descriptor)
    return process, report, requests


def _setup(place: Place, job: Job) -> bytes:
    limits, wall = asdict(place.limits), place.wall
    if not wall.encloses and wall.user is None:  # the kernel counts all that this user runs
        limits["processes"] += own_tasks()
    told = {"program": "", "prelude": "", "setup": [], "function": "", "names": [], "exams": [], **job.setup}
    told |= {
        "limits": limits,
        "tests": job.tests,
        "user": wall.user,
        "writable": list(wall.writable),
        "parent_ends_it": not wall.encloses,
        "filter": "" if wall.encloses or wall.filter is None else wall.filter.hex(),
        "packages": list(place.interpreter.packages),
    }
    return json.dumps(told).encode()
