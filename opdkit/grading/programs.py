"""Grades programs: extracts the program from a response and runs its tests."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

from opdkit.data.grade import PROGRAM_FAULTS, Grade
from opdkit.errors import UserError
from opdkit.grading.grade import RESPONSE_LIMIT, shorten
from opdkit.grading.program_pool import ProgramPool
from opdkit.grading.program_tests import ProgramTests
from opdkit.grading.turns import conclusion, own_turn
from opdkit.processes.pool import PoolPerProcess
from opdkit.sandbox.isolation import Sandbox
from opdkit.sandbox.limits import Limits

PROGRAM_LIMIT = 100_000
_FENCE = re.compile(r"([ \t]{0,16})(`{3,}|~{3,})[ \t]*([\w+.#-]{0,40})")
_PYTHON = ("", "python", "python3", "py")
_HINTS = {
    "bwrap": "apt-get install -y bubblewrap; sandbox=process runs programs with limits and a system call filter, "
    "without protection of files",
    "process": "sandbox=bwrap needs bubblewrap",
}
_lock = threading.Lock()
_pools = PoolPerProcess(ProgramPool)


@dataclass(frozen=True)
class ProgramGrader:
    """Settings for running and scoring programs.

    Attributes:
        sandbox: bwrap, or process: resource limits only.
        limits: limits of each process.
        python: Python interpreter that runs the programs; None for the one running opdkit.
        packages: whether programs may import the interpreter's installed packages.
        partial: whether the reward is the fraction of tests passed instead of all or nothing.
        tolerance: absolute or relative tolerance for non-integer numbers.
    """

    sandbox: Sandbox = "bwrap"
    limits: Limits = field(default_factory=Limits)
    python: str | None = None
    packages: bool = False
    partial: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        if self.sandbox not in get_args(Sandbox):
            raise UserError(f"sandbox={self.sandbox!r}; allowed: {', '.join(get_args(Sandbox))}")
        if not 0 <= self.tolerance < 1:
            raise UserError(f"tolerance={self.tolerance}; allowed: 0 to below 1")

    def check(self) -> None:
        """Raises UserError if programs can't be run with these settings on this machine."""
        if not hasattr(os, "memfd_create"):
            raise UserError("programs run only on Linux")
        refused = _ask([self._box])[0].get("refused", "the judging process does not start")
        if refused is not None:
            hint = "" if "python=" in refused else f" ({_HINTS[self.sandbox]})"
            raise UserError(f"sandbox={self.sandbox}: {refused}{hint}")

    def grade(self, pairs: Sequence[tuple[str, ProgramTests]]) -> list[Grade]:
        """Grades of (response, tests).

        The status is "ok" where a program passes, one of
        `PROGRAM_FAULTS` where it does not, "no_answer" where the response has
        none; "too_long", "not_text" and "other_turn" where it is not read, "timeout" and "crashed" where judging
        was given up. The parts are `tests_passed`, the share, and 1 for the fault.
        """
        grades: list[Grade | None] = []
        asked: dict[tuple[str, str], dict[str, Any]] = {}
        keys: list[tuple[str, str] | None] = []
        for response, tests in pairs:
            program, status = find_program(response, tests.function)
            key = (program, tests.digest) if status == "ok" else None
            grades.append(None if key else _failed(status))
            keys.append(key)
            if key is not None and key not in asked:
                asked[key] = self._request(program, tests)
        replies = dict(zip(asked, _ask(list(asked.values())), strict=True))
        for place, key in enumerate(keys):
            if key is not None:
                grades[place] = self._grade(replies[key])
        return [grade for grade in grades if grade is not None]

    @property
    def _box(self) -> dict[str, Any]:
        return {
            "sandbox": self.sandbox,
            "python": self.python,
            "packages": self.packages,
            "limits": asdict(self.limits),
        }

    def _request(self, program: str, tests: ProgramTests) -> dict[str, Any]:
        if tests.prompt and not _defines(program, tests.function):
            program = tests.prompt + program
        told = {
            name: getattr(tests, name)
            for name in (
                "stdin",
                "calls",
                "exams",
                "checks",
                "function",
                "names",
                "loose",
                "prelude",
                "setup",
                "prompt",
            )
        }
        patience = tests.count * self.limits.wall_seconds
        judging = {"partial": self.partial, "tolerance": self.tolerance, "patience": patience}
        return {**self._box, **judging, "program": program, "tests": told}

    def _grade(self, reply: dict[str, Any]) -> Grade:
        if "total" not in reply:  # the judging process died
            return _failed(reply.get("status", "crashed"))
        passed, total, status = reply["passed"], reply["total"], reply["status"]
        share = passed / total
        told = f"{passed} of {total} passed" if self.partial or status == "ok" else reply["detail"]
        if self.partial and status != "ok":
            told += f"; {reply['detail']}"
        correct = passed == total
        return Grade(share if self.partial else float(correct), correct, shorten(told), status, _parts(share, status))


def find_program(response: str, function: str = "") -> tuple[str, str]:
    """The program of a response and "ok", or "" and the status.

    It is the last closed fenced block marked as Python or unmarked, after the reasoning; if the tests call a function,
    the last one that defines it.
    """
    if len(response) > RESPONSE_LIMIT:
        return "", "too_long"
    if any("\ud800" <= sign <= "\udfff" for sign in response):
        return "", "not_text"
    own = own_turn(response)
    if own is None:
        return "", "other_turn"
    start, end = conclusion(own)
    blocks = [text for language, text in _blocks(own[start:end]) if language in _PYTHON and text.strip()]
    if not blocks:
        return "", "no_answer"
    program = next((text for text in reversed(blocks) if function and _defines(text, function)), blocks[-1])
    return (program, "ok") if len(program) <= PROGRAM_LIMIT else ("", "too_long")


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """Language and text of each closed fenced block, without the indentation of its fence (in a list)."""
    indent, fence, language, lines = "", "", "", list[str]()
    for line in text.splitlines():
        mark = _FENCE.match(line)
        if not fence:
            if mark:
                indent, fence, language, lines = mark[1], mark[2], mark[3].lower(), []
        elif mark and mark[2].startswith(fence) and not line.strip(" \t`~"):
            yield language, "\n".join(lines) + "\n"
            fence = ""
        else:
            lines.append(line.removeprefix(indent))


def _defines(program: str, function: str) -> bool:
    return any(
        re.match(rf"[ \t]{{0,40}}(?:async )?(?:def {re.escape(function)}\b|{re.escape(function)}[ \t]*[=:])", line)
        for line in program.splitlines()
    )


def _failed(status: str) -> Grade:
    return Grade(0.0, False, None, status, _parts(0.0, status))


def _parts(share: float, status: str) -> dict[str, float]:
    faults = {name: float(status == name) for name in PROGRAM_FAULTS}
    return {"tests_passed": share, "no_program": float(status == "no_answer"), **faults}


def _ask(requests: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    with _lock:
        return _pools.get().ask(requests)
