"""Problems with one gold answer each, from the hub or from a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.errors import UserError, error_prefix
from opdkit.grading.grade import grade_mathematics
from opdkit.tasks.files import SUFFIXES, Place, Row, read_file
from opdkit.tasks.hub import read_hub
from opdkit.tasks.templates import check_template, render, template_fields

_COLUMNS = {"question": "question", "answer": "answer"}


@dataclass(frozen=True)
class Records:
    """Rows of a data set as problems; answers are graded as mathematics.

    path: a hub name (`openai/gsm8k`) or a local json, jsonl, csv or parquet file; subset and split: of the hub's set.
    columns: field -> column, or columns of which a row must have one; `question` and `answer` are needed, `id`
    names the problem (its number in the file where there is none), any other may be used in the template. A column
    that holds a list, as of several answers, is joined by commas.
    drop: a regular expression removed from the question, for instructions that a set carries in its prompts.
    answer_pattern: a regular expression whose first group, at its last match, is the gold answer.
    template: the user's turn; {question} and the other fields are filled in. system: the system's turn.
    limit: the first rows only. Raises UserError, naming the file and line, for anything a file can get wrong.
    """

    name: str
    path: str
    subset: str | None = None
    split: str = "test"
    columns: Mapping[str, Any] = field(default_factory=lambda: dict(_COLUMNS))
    template: str = "{question}"
    system: str | None = None
    drop: str | None = None
    answer_pattern: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        for needed in ("question", "answer"):
            if not self.columns.get(needed):
                raise UserError(f"columns.{needed} names no column; allowed: a column of the data, or a list of them")
        check_template(self.template, {name for name, column in self.columns.items() if column} - {"answer"})
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}; allowed: 1 or more")
        for key in ("drop", "answer_pattern"):
            _compile(key, getattr(self, key))
        if self.answer_pattern is not None and re.compile(self.answer_pattern).groups != 1:
            raise UserError(f"answer_pattern={self.answer_pattern!r}; allowed: a pattern with one group")

    def load(self) -> Sequence[Problem]:
        """All problems, in the order of the rows."""
        with error_prefix("path="):
            return self._problems()

    def _problems(self) -> list[Problem]:
        problems: list[Problem] = []
        places: dict[str, Place] = {}
        for place, row in self._rows():
            problem = self._problem(place, row)
            if problem.identifier in places:
                raise UserError(f"{place}: id {problem.identifier!r} stands already at {places[problem.identifier]}")
            places[problem.identifier] = place
            problems.append(problem)
            if len(problems) == self.limit:
                break
        if not problems:
            raise UserError(f"{self.path}: holds no rows")
        return problems

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Verdicts on (response, reference) pairs; see `grade_mathematics`."""
        return grade_mathematics(pairs)

    def _rows(self) -> Iterator[tuple[Place, Row]]:
        path = Path(self.path).expanduser()
        looks_local = path.suffix.lower() in SUFFIXES or self.path.startswith((".", "/", "~")) or path.exists()
        return read_file(path) if looks_local else read_hub(self.path, self.subset, self.split)

    def _problem(self, place: Place, row: Row) -> Problem:
        used = template_fields(self.template) | {"answer"}
        fields = {name: self._value(place, row, name) for name in self.columns if name in used}
        if self.drop is not None and "question" in fields:
            fields["question"] = re.sub(self.drop, "", fields["question"]).strip()
        for name, value in fields.items():
            if not value.strip():
                raise UserError(f"{place}: {name} (column {self.columns[name]!r}) is empty")
        given = self._value(place, row, "id") if self.columns.get("id") else ""
        return Problem(
            identifier=f"{self.name}/{given or place.number}",
            messages=render(self.template, fields, self.system),
            reference=self._answer(place, fields["answer"]),
        )

    def _value(self, place: Place, row: Row, name: str) -> str:
        wanted = self.columns[name]
        choices = [wanted] if isinstance(wanted, str) else list(wanted)
        for column in choices:
            value = row.get(column)
            if value is not None:
                return _as_text(value)
        if name == "id":
            return ""
        empty = [column for column in choices if column in row]
        if empty:
            raise UserError(f"{place}: column {empty[0]!r} is null, so there is no {name}")
        raise UserError(
            f"{place}: no column {' or '.join(map(repr, choices))} for {name}; "
            f"it has {', '.join(sorted(map(str, row))) or 'none'} (set columns.{name})"
        )

    def _answer(self, place: Place, text: str) -> str:
        if self.answer_pattern is None:
            return text.strip()
        found = re.findall(self.answer_pattern, text)
        if not found or not found[-1].strip():
            raise UserError(f"{place}: no answer: answer_pattern={self.answer_pattern!r} is not in {_short(text)}")
        return found[-1].strip()


def _as_text(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return ", ".join(_as_text(part) for part in value)
    return str(value)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else "..." + text[-57:])


def _compile(key: str, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UserError(f"{key}={pattern!r} is not a regular expression: {error}") from None
