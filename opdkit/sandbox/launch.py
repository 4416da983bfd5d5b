"""Launches one process of a program, with its setup, files and pipes."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from opdkit.sandbox.isolation import Interpreter, Isolation
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.linux import count_own_tasks, sealed_file
from opdkit.sandbox.script import SCRIPT


@dataclass(frozen=True)
class Job:
    """One process of a program.

    Attributes:
        setup: input of `bootstrap`: mode, program, prelude, setup, function; names and exams.
        tests: number of tests, each with its own time limit.
        stdin: standard input of the program.
        secret: for mode `checks`: the assertions and the token.
        output_bytes: limit of its output, and of reports pending at a time.
    """

    setup: Mapping[str, Any]
    tests: int = 1
    stdin: bytes = b""
    secret: Sequence[bytes] = ()
    output_bytes: int = 1 << 16


class LaunchSettings(Protocol):
    """Settings for launching a process."""

    @property
    def isolation(self) -> Isolation: ...

    @property
    def interpreter(self) -> Interpreter: ...

    @property
    def limits(self) -> Limits: ...


def start(job: Job, settings: LaunchSettings, folder: str) -> tuple[subprocess.Popen[bytes], int, int]:
    """The process, its report pipe and its request pipe."""
    report, far_report = os.pipe()
    far_requests, requests = os.pipe()
    files = [sealed_file(data) for data in (_setup(settings, job), *job.secret)]
    stdin = sealed_file(job.stdin)
    filters = [] if settings.isolation.filter is None else [sealed_file(settings.isolation.filter)]
    isolation = settings.isolation.command(
        settings.interpreter, settings.limits.files_mb, filters[0] if filters else None
    )
    descriptors = [files[0], far_report, far_requests, *files[1:]]
    try:
        process = subprocess.Popen(
            [*isolation, *settings.interpreter.command(), SCRIPT, *map(str, descriptors)],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=settings.isolation.environment(folder),
            cwd=folder,
            pass_fds=(*descriptors, *filters),
            start_new_session=True,
        )
    except OSError:
        os.close(report)
        os.close(requests)
        raise
    finally:
        for descriptor in (*descriptors, stdin, *filters):
            os.close(descriptor)
    return process, report, requests


def _setup(settings: LaunchSettings, job: Job) -> bytes:
    limits, isolation = asdict(settings.limits), settings.isolation
    if not isolation.pid_namespace and isolation.user is None:  # the kernel counts all tasks of this user
        limits["processes"] += count_own_tasks()
    setup = {"program": "", "prelude": "", "setup": [], "function": "", "names": [], "exams": [], **job.setup}
    setup |= {
        "limits": limits,
        "tests": job.tests,
        "user": isolation.user,
        "writable": list(isolation.writable),
        "die_with_parent": not isolation.pid_namespace,
        "filter": "" if isolation.pid_namespace or isolation.filter is None else isolation.filter.hex(),
        "packages": list(settings.interpreter.packages),
    }
    return json.dumps(setup).encode()
