"""Code generation problems, whose programs are run on tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError, error_prefix
from opdkit.grading.program_tests import ProgramTests
from opdkit.grading.programs import ProgramGrader
from opdkit.sandbox.isolation import Sandbox
from opdkit.sandbox.limits import Limits
from opdkit.tasks.code_rows import FORMS, TESTS, has_pickled_tests, parsed, read_tests
from opdkit.tasks.columns import as_text, look_up
from opdkit.tasks.files import Place, Row
from opdkit.tasks.guessing import check_given, column_names, find_column, unique_column
from opdkit.tasks.hub import read_rows

_AUTO = "auto"
_USUAL = {
    "question": ("question_content", "question", "problem", "description", "text", "prompt", "instruction", "messages"),
    "tests": TESTS,
    "solution": ("canonical_solution", "solution", "code", "solutions"),
    "id": ("question_id", "task_id", "problem_id", "id", "uid", "unique_id", "index", "extra_info.index"),
}
_FIELDS = {"question", "form"}
_STDIN = "The program reads its input from standard input and prints its answer on standard output."


@dataclass(frozen=True)
class Code:
    """Rows with a question and tests, from a file or Hub dataset.

    A response is correct if its program passes all tests of its row; see `grading.programs` and docs/grading.md.

    Attributes:
        path: a json, jsonl, csv or parquet file, or a Hub dataset id.
        name: its name in files and tables.
        subset: configuration of a Hub dataset.
        split: split of a Hub dataset.
        columns: question, tests, solution or id -> a column, null for none, or `auto` (the default): detected.
        template: the user turn, with {question} and {form}: what the program reads, or its starter code.
        system: system prompt, null for none.
        limit: use only the first N rows.
        sandbox: bwrap, or process: resource limits only.
        python: Python interpreter that runs the programs; null for the one running opdkit.
        packages: whether programs may import that interpreter's installed packages.
        partial: whether the reward is the fraction of tests passed.
        tolerance: absolute or relative tolerance for non-integer numbers.
        seconds: CPU seconds per test.
        memory_mb: memory limit, MiB.
        processes: maximum processes and threads per program.
        files_mb: maximum MiB of files written.
    """

    path: str
    name: str = "code"
    subset: str | None = None
    split: str = "train"
    columns: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    template: str = "{question}\n\n{form}\n\nPut the whole program in one block, fenced by ```python and ```."
    system: str | None = None
    limit: int | None = None
    sandbox: Sandbox = "bwrap"
    python: str | None = None
    packages: bool = False
    partial: bool = False
    tolerance: float = 0.0
    seconds: int = 6
    memory_mb: int = 1024
    processes: int = 16
    files_mb: int = 16

    def __post_init__(self) -> None:
        for key in self.columns:
            if key not in _USUAL:
                raise UserError(f"columns.{key}: no such field; allowed: {', '.join(_USUAL)}")
        if template_fields(self.template) != _FIELDS:
            raise UserError(f"template={self.template!r}: must hold {{question}} and {{form}}, and no other field")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}; allowed: 1 or more")
        assert self._grader  # its own checks

    def load(self) -> Sequence[Problem]:
        """All problems, in row order. Raises UserError if programs can't be run as configured."""
        self._grader.check()
        return [problem for problem, _ in self._read[1]]

    def told(self) -> Sequence[str]:
        """The detected columns."""
        return self._read[0]

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, name of its tests) pairs; see `ProgramGrader.grade`."""
        tests = self._tests
        return self._grader.grade([(response, tests[reference]) for response, reference in pairs])

    @cached_property
    def _grader(self) -> ProgramGrader:
        limits = Limits(self.seconds, self.memory_mb, self.processes, self.files_mb)
        return ProgramGrader(self.sandbox, limits, self.python, self.packages, self.partial, self.tolerance)

    @cached_property
    def _tests(self) -> Mapping[str, ProgramTests]:
        return {problem.reference: tests for problem, tests in self._read[1]}

    @cached_property
    def _read(self) -> tuple[list[str], list[tuple[Problem, ProgramTests]]]:
        """The report line, and the problems with their tests."""
        with error_prefix("path="):
            if not self.path:
                raise UserError("no file or hub id is given")
            rows = read_rows(self.path, self.subset, self.split, self.limit)
            columns = self._columns([row for _, row in rows])
            problems = [self._problem(number, place, row, columns) for number, (place, row) in enumerate(rows, 1)]
        named = ", ".join(f"{name} from {column!r}" for name, column in columns.items() if column)
        told = f"{self.path}: {len(rows)} problems, {sum(tests.count for _, tests in problems)} tests; {named}"
        pickled = sum(has_pickled_tests(row) for _, row in rows)
        if pickled:
            told += f"; the private tests of {pickled} rows are pickled, and never read: public tests alone count"
        return [told], problems

    def _columns(self, rows: Sequence[Row]) -> dict[str, str | None]:
        given = {name: column for name, column in self.columns.items() if column != _AUTO}
        check_given(rows, given, self.path)
        found = {
            name: given[name] if name in given else (unique_column if name == "id" else find_column)(rows, usual)
            for name, usual in _USUAL.items()
        }
        if not found["tests"]:
            raise UserError(
                f"{self.path}: no column looks like tests ({FORMS}); there are {column_names(rows)} (set columns.tests)"
            )
        if not found["question"]:
            raise UserError(
                f"{self.path}: no column looks like a question ({', '.join(_USUAL['question'])}); there are "
                f"{column_names(rows)} (set columns.question)"
            )
        return found

    def _problem(
        self, number: int, place: Place, row: Row, columns: Mapping[str, str | None]
    ) -> tuple[Problem, ProgramTests]:
        value = {name: look_up(row, column)[1] if column else None for name, column in columns.items()}
        question = as_text(value["question"]).strip() if value["question"] is not None else ""
        if not question:
            raise UserError(f"{place}: column {columns['question']!r} has no question")
        tests = read_tests(place, row, columns["tests"] or "")
        text, form = _asked(question, row, tests)
        turn = Message("user", fill(self.template, {"question": text, "form": form}))
        system = () if self.system is None else (Message("system", self.system),)
        name = number if value["id"] is None else as_text(value["id"])
        solution = _solution(value["solution"], tests)
        context = {"answer": solution, "solution": solution}
        reference = f"a program that passes {tests.count} tests ({tests.digest})"
        return Problem(f"{self.name}/{name}", (*system, turn), reference, context), tests


def _asked(question: str, row: Row, tests: ProgramTests) -> tuple[str, str]:
    """The question with the required form of the program."""
    starter = row.get("starter_code")
    if tests.stdin:
        return question, _STDIN
    if tests.prompt.strip() and question == tests.prompt.strip():
        return "Complete this function.", _fenced(tests.prompt)
    if isinstance(starter, str) and starter.strip():
        return question, f"The program begins so:\n\n{_fenced(starter)}"
    shown = row.get("test_list")
    if isinstance(shown, list) and all(isinstance(one, str) for one in shown):
        return question, "The program passes these tests:\n\n" + _fenced("\n".join(shown))
    return question, f"The program defines the function `{tests.function}`." if tests.function else ""


def _solution(value: object, tests: ProgramTests) -> str:
    """A worked solution as a fenced program, "" for none; the first of several."""
    known = parsed(value)
    first = known[0] if isinstance(known, list) and known else known
    if not isinstance(first, str) or not first.strip():
        return ""
    return _fenced(tests.prompt + first if tests.prompt and f"def {tests.function}" not in first else first)


def _fenced(text: str) -> str:
    return f"```python\n{text.strip(chr(10))}\n```"
