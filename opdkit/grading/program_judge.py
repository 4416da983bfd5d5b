"""Judges one program by its tests, in untrusted processes whose output and values are compared here."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from opdkit.grading.outputs import same_output, same_value
from opdkit.sandbox.launch import Job
from opdkit.sandbox.runner import ProcessResult, Runner, RunningProcess
from opdkit.sandbox.wire import decode

_SHOWN = 80
_FINAL = ("syntax_error", "time_limit", "memory_limit")  # the remaining tests of such a program are skipped
_TOO_MUCH_CPU = 128 + 24  # SIGXCPU
_LONGEST_VALUE = 1 << 20  # bytes of a value in an assertion
_FAULTS = ("syntax_error", "runtime_error", "wrong_output")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


@dataclass
class Verdict:
    """The result of a program's tests.

    Attributes:
        passed: number of passed tests.
        total: number of tests.
        status: "ok", or the reason of the first failure: "wrong_output", "runtime_error", "syntax_error", "time_limit",
            "memory_limit", "output_limit".
        detail: the reason in words; may contain text from the program.
    """

    total: int
    passed: int = 0
    status: str = "ok"
    detail: str = ""

    def fail(self, number: int, status: str, detail: str) -> None:
        """Records that test `number` (from 0) failed; only the first failure is kept."""
        if self.status == "ok":
            line = " ".join(detail.split())[: 4 * _SHOWN].encode("utf-8", "replace").decode()
            self.status, self.detail = status, f"test {number + 1}: {line}"


class Judge:
    """One program and its tests."""

    def __init__(self, runner: Runner, request: dict[str, Any]) -> None:
        self._runner, self._tests = runner, request["tests"]
        self._partial, self._tolerance = request["partial"], request["tolerance"]
        self._program = {
            "program": request["program"],
            "prelude": self._tests["prelude"],
            "setup": self._tests["setup"],
            "function": self._tests["function"],
        }
        self._verdict = Verdict(sum(len(self._tests[kind]) for kind in ("stdin", "calls", "exams", "checks")))

    def run(self) -> Verdict:
        """Runs the tests in order, stopping at the first failure unless partial."""
        for number, (given, expected) in enumerate(self._tests["stdin"]):
            if not self._over():
                self._script(number, given, expected)
        first = 0
        if self._tests["calls"]:
            self._calls()
            first = len(self._tests["calls"])
        left: list[str] = []
        if self._tests["exams"] and not self._over():
            left = self._exams(first)
            first += len(self._tests["exams"]) - len(left)
        checks = [*left, *self._tests["checks"]]
        if checks and not self._over():
            self._checks(first, checks)
        return self._verdict

    def _over(self) -> bool:
        status = self._verdict.status
        return status in _FINAL or (status != "ok" and not self._partial)

    def _script(self, number: int, given: str, expected: str) -> None:
        ended = self._runner.run(
            Job(
                {**self._program, "mode": "script"},
                stdin=given.encode("utf-8", "replace"),
                output_bytes=2 * len(expected.encode("utf-8", "replace")),
            )
        )
        if ended.reports or ended.reason != "exit" or ended.status:
            self._fail(number, ended, ended.reports[0] if ended.reports else None)
            return
        printed = ended.output.decode("utf-8", "replace")
        if same_output(printed, expected, self._tolerance):
            self._verdict.passed += 1
        else:
            self._verdict.fail(number, "wrong_output", f"printed {_short(printed)}, not {_short(expected)}")

    def _calls(self) -> None:
        """Runs the calls. Their values are compared here: the program never sees the expected ones."""
        cases = self._tests["calls"]
        longest = max(len(json.dumps(expected)) for _, expected in cases)
        job = Job({**self._program, "mode": "serve"}, len(cases), output_bytes=2 * longest)
        with self._runner.start(job) as program:
            for number, (arguments, expected) in enumerate(cases):
                request = json.dumps({"call": self._tests["function"], "arguments": arguments})
                line = self._reply(program, request.encode())
                reply = _read(line)
                if "raised" in reply:
                    self._verdict.fail(number, *_fault(reply))
                elif "value" in reply:
                    self._compare(number, reply["value"], expected)
                else:
                    self._fail(number, program.end(), line)
                    return
                if self._over():
                    return

    def _reply(self, process: RunningProcess, line: bytes) -> bytes | None:
        process.ask(line)
        return process.next_report(process.deadline())

    def _compare(self, number: int, found: Any, expected: Any) -> None:
        right = False
        with contextlib.suppress(*_UNREADABLE):
            right = self._same(decode(found), decode(expected))
        if right:
            self._verdict.passed += 1
        else:
            self._verdict.fail(number, "wrong_output", f"returned {_shown(found)}, not {_shown(expected)}")

    def _same(self, found: object, expected: object) -> bool:
        """Equality that also accepts a value wrapped in a list, as some loose datasets (APPS) have it."""
        loose, tolerance = self._tests["loose"], self._tolerance
        if same_value(found, expected, tolerance, loose):
            return True
        if not loose or not isinstance(expected, list):
            return False
        (inner, *others) = cast("list[object]", expected) or [None, None]
        return not others and same_value(found, inner, tolerance, loose)

    def _exams(self, first: int) -> list[str]:
        """Runs assertions in their own process, which forwards calls to the program's. Returns the assertions that
        can't be run this way, because an argument can't be serialised."""
        sources, left = self._tests["exams"], list[str]()
        serving = Job({**self._program, "mode": "serve"}, 64 * len(sources), output_bytes=_LONGEST_VALUE)
        own = {"mode": "exam", "names": self._tests["names"], "exams": sources}
        exam = {**own, "prelude": self._tests["prompt"], "setup": self._tests["setup"]}
        examining = Job(exam, len(sources), output_bytes=16 * _LONGEST_VALUE)
        with self._runner.start(serving) as program, self._runner.start(examining) as examiner:
            for place, source in enumerate(sources):
                number = first + place - len(left)
                late = examiner.deadline()
                line, report = None, dict[str, Any]()
                while (line := examiner.next_report(late)) is not None and "call" in (report := _read(line)):
                    program.ask(line)
                    answer = program.next_report(late)
                    if answer is None or "fault" in _read(answer):
                        self._fail(number, program.end(), answer)
                        return left
                    examiner.ask(answer)
                if line is None:
                    self._fail(number, examiner.end(), None)
                    return left
                if "unsupported" in report:
                    left.append(source)
                elif "held" in report:
                    self._verdict.passed += 1
                else:
                    self._verdict.fail(number, *_fault(report))
                if self._over():
                    return left
        return left

    def _checks(self, first: int, sources: Sequence[str]) -> None:
        """Runs assertions after the program, in its process."""
        token = secrets.token_hex(32).encode()
        secret = ("\0".join(sources).encode("utf-8", "replace"), token)
        ended = self._runner.run(Job({**self._program, "mode": "checks"}, len(sources), secret=secret))
        held = [line for line in ended.reports if line.startswith(token)]
        passed = {int(word) for word in held[0].split()[1:]} if held else set[int]()
        self._verdict.passed += len(passed)
        if len(passed) < len(sources):
            number = first + min(set(range(len(sources))) - passed)
            self._fail(number, ended, ended.reports[0] if ended.reports else None)

    def _fail(self, number: int, ended: ProcessResult, line: bytes | None) -> None:
        """Records that test `number` failed, by how the process ended or by its report."""
        kind, detail = _fault(_read(line))
        if ended.reason.endswith("_limit"):
            kind, detail = ended.reason, ended.reason.replace("_", " ")
        elif ended.status == _TOO_MUCH_CPU:
            kind, detail = "time_limit", "time limit"
        elif not detail:
            words = ended.errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
            detail = f"exit status {ended.status} before the test was over {words}"
        self._verdict.fail(number, kind, detail)


def _fault(report: dict[str, Any]) -> tuple[str, str]:
    """The status and detail of a reported failure."""
    kind, detail = report.get("fault"), report.get("detail")
    return kind if kind in _FAULTS else "runtime_error", detail if isinstance(detail, str) else ""


def _read(line: bytes | None) -> dict[str, Any]:
    """A reported line as a dictionary, empty if it is not a JSON object. Reports are untrusted."""
    with contextlib.suppress(*_UNREADABLE):
        report = json.loads(line or b"{}")
        if isinstance(report, dict):
            return cast("dict[str, Any]", report)
    return {}


def _short(text: str) -> str:
    text = text.strip()
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def _shown(encoded: Any) -> str:
    """An encoded value in words."""
    text = "a value that can't be read"
    with contextlib.suppress(*_UNREADABLE):
        other = isinstance(encoded, dict) and "other" in encoded
        text = str(encoded["other"]) if other else repr(decode(encoded))
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
