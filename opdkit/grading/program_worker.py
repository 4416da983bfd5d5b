"""The process that judges programs: `python -m opdkit.grading.program_worker`.

It reads one JSON request a line on standard input and writes one JSON reply a line. Every request names the box
("sandbox", "python", "packages", "limits"). With a "program" it is a program to be judged by "tests" (see
`grading.program_tests.ProgramTests`), "partial" and "tolerance", and the reply is a `Verdict`; without, it asks
whether the box holds, and the reply is {"refused": why not, or null}.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import secrets
from dataclasses import dataclass
from typing import Any, cast

from opdkit.grading.outputs import same_output, same_value
from opdkit.processes.child import claim_pipes, next_line, write_all
from opdkit.sandbox.box import Box, Ended, Job, ParentGoneError
from opdkit.sandbox.inside import decode
from opdkit.sandbox.kernel import adopt_orphans
from opdkit.sandbox.limits import Limits
from opdkit.sandbox.probe import holes
from opdkit.sandbox.walls import Interpreter, open_wall

_SHOWN = 80
_FINAL = ("syntax_error", "time_limit", "memory_limit")  # the other tests of such a program are not tried
_TOO_MUCH_CPU = 128 + 24  # SIGXCPU


@dataclass
class Verdict:
    """What became of a program's tests.

    Attributes:
        passed: how many held.
        total: how many there are.
        status: "ok", or why the first that failed did: "wrong_output", "runtime_error", "syntax_error", "time_limit",
            "memory_limit", "output_limit".
        detail: that in words. Text of the program's may be in it.
    """

    total: int
    passed: int = 0
    status: str = "ok"
    detail: str = ""

    def fail(self, number: int, status: str, detail: str) -> None:
        """Test `number` (from 0) failed; the first one that did is told."""
        if self.status == "ok":
            told = " ".join(detail.split())[: 4 * _SHOWN].encode("utf-8", "replace").decode()
            self.status, self.detail = status, f"test {number + 1}: {told}"


def main() -> None:
    """Serve requests until standard input ends."""
    parent = os.getppid()
    source, sink = claim_pipes()
    adopt_orphans()
    write_all(sink, b'{"ready": true}\n')
    buffer = bytearray()
    with contextlib.suppress(ParentGoneError):
        while (line := next_line(source, buffer, parent)) is not None:
            write_all(sink, json.dumps(_answer(json.loads(line), source)).encode() + b"\n")


def _answer(request: dict[str, Any], source: int) -> dict[str, Any]:
    try:
        interpreter = Interpreter.find(request["python"], request["packages"])
        box = Box(open_wall(request["sandbox"]), interpreter, Limits(**request["limits"]), source)
    except ValueError as error:
        return {"refused": str(error)}
    if "program" not in request:
        return {"refused": holes(box)}
    judge = _Judge(box, request)
    judge.run()
    return dataclasses.asdict(judge.verdict)


class _Judge:
    """One program and its tests."""

    def __init__(self, box: Box, request: dict[str, Any]) -> None:
        self._box, self._tests = box, request["tests"]
        self._partial, self._tolerance = request["partial"], request["tolerance"]
        self._setup = {
            "program": request["program"],
            "prelude": self._tests["prelude"],
            "setup": self._tests["setup"],
            "function": self._tests["function"],
        }
        counts = [len(self._tests[kind]) for kind in ("stdin", "calls", "checks")]
        self.verdict = Verdict(sum(counts))

    def run(self) -> None:
        """Every test in its order, up to the first that fails unless the share counts."""
        for number, (given, expected) in enumerate(self._tests["stdin"]):
            self._script(number, given, expected)
            if self._over():
                return
        if self._tests["calls"]:
            self._calls()
        if self._tests["checks"] and not self._over():
            self._checks(len(self._tests["calls"]))

    def _over(self) -> bool:
        status = self.verdict.status
        return status in _FINAL or (status != "ok" and not self._partial)

    def _script(self, number: int, given: str, expected: str) -> None:
        faults: list[dict[str, str]] = []
        allowed = 2 * len(expected.encode("utf-8", "replace")) + (1 << 16)
        job = Job(
            {**self._setup, "mode": "script"},
            stdin=given.encode("utf-8", "replace"),
            output_bytes=allowed,
            report=lambda line: _keep_fault(line, faults),
        )
        ended = self._box.run(job)
        if self._failed(number, ended, faults):
            return
        printed = ended.output.decode("utf-8", "replace")
        if same_output(printed, expected, self._tolerance):
            self.verdict.passed += 1
        else:
            self.verdict.fail(number, "wrong_output", f"printed {_short(printed)}, not {_short(expected)}")

    def _calls(self) -> None:
        cases, faults = self._tests["calls"], list[dict[str, str]]()
        at = 0

        def report(line: bytes) -> bool:
            nonlocal at
            if at == len(cases) or _keep_fault(line, faults) is False:
                return False
            self._compare(at, line, cases[at][1])
            at += 1
            return at < len(cases) and not self._over()

        expected = sum(len(json.dumps(case[1])) for case in cases)
        setup = {**self._setup, "mode": "calls", "calls": [case[0] for case in cases]}
        ended = self._box.run(Job(setup, len(cases), output_bytes=2 * expected + (1 << 16), report=report))
        if at < len(cases) and not self._over():
            self._failed(at, ended, faults, "the process ended before its function returned")

    def _compare(self, number: int, line: bytes, expected: Any) -> None:
        told, right = {"other": "nothing that can be read"}, False
        try:
            told = json.loads(line)["value"]
            right = self._same(decode(told), decode(expected))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # no value that anything is equal to
        if right:
            self.verdict.passed += 1
        else:
            self.verdict.fail(number, "wrong_output", f"returned {_shown(told)}, not {_shown(expected)}")

    def _same(self, found: object, expected: object) -> bool:
        """Some sets of the loose kind (APPS) have each value in a list of its own."""
        loose, tolerance = self._tests["loose"], self._tolerance
        if same_value(found, expected, tolerance, loose):
            return True
        if not loose or not isinstance(expected, list):
            return False
        (inner, *others) = cast("list[object]", expected) or [None, None]
        return not others and same_value(found, inner, tolerance, loose)

    def _checks(self, first: int) -> None:
        sources, faults, held = self._tests["checks"], list[dict[str, str]](), set[int]()
        token = secrets.token_hex(32).encode()
        going = 0

        def report(line: bytes) -> bool:
            nonlocal going
            if line.startswith(token):
                held.update(int(word) for word in line.split()[1:])
                return False
            going += 1
            if going > 4 * len(sources):
                return False
            return _keep_fault(line, faults) is not False or self._partial

        secret = ("\0".join(sources).encode("utf-8", "replace"), token)
        job = Job({**self._setup, "mode": "checks"}, len(sources), secret=secret, report=report)
        ended = self._box.run(job)
        passed = held & set(range(len(sources)))
        self.verdict.passed += len(passed)
        if len(passed) < len(sources):
            number = first + min(set(range(len(sources))) - passed)
            self._failed(number, ended, faults, "the process ended before the assertions did")

    def _failed(self, number: int, ended: Ended, faults: list[dict[str, str]], otherwise: str = "") -> bool:
        """Whether the process failed by itself, and if so how. otherwise: what to say where it did not."""
        if ended.reason.endswith("_limit"):
            self.verdict.fail(number, ended.reason, ended.reason.replace("_", " "))
        elif ended.status == _TOO_MUCH_CPU:
            self.verdict.fail(number, "time_limit", "time limit")
        elif faults:
            self.verdict.fail(number, faults[0]["fault"], faults[0]["detail"])
        elif ended.reason == "exit" and ended.status:
            words = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            self.verdict.fail(number, "runtime_error", f"exit status {ended.status} {words}")
        elif otherwise:
            self.verdict.fail(number, "runtime_error", otherwise)
        else:
            return False
        return True


def _keep_fault(line: bytes, faults: list[dict[str, str]]) -> bool:
    """False where the line reports a fault, which is kept. Nothing that a program reports as one does it good."""
    try:
        told = json.loads(line)
        name, detail = told["fault"], told["detail"] if isinstance(told["detail"], str) else ""
    except (ValueError, TypeError, KeyError, RecursionError):
        return True
    known = name if name in ("syntax_error", "runtime_error", "wrong_output") else "runtime_error"
    faults.append({"fault": known, "detail": detail})
    return False


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _shown(encoded: Any) -> str:
    """An encoded value in words."""
    text = "a value that can't be read"
    with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        other = isinstance(encoded, dict) and "other" in encoded
        text = str(encoded["other"]) if other else repr(decode(encoded))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


if __name__ == "__main__":
    main()
