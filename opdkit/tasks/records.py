"""Problems with one gold answer each, from a file or Hub dataset."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from opdkit.data.grade import Grade
from opdkit.data.problem import Problem
from opdkit.errors import UserError, error_prefix
from opdkit.grading.normal_form import tidy
from opdkit.grading.shapes import items_of
from opdkit.grading.tolerance import read_tolerances, with_tolerances
from opdkit.tasks.answers import BOXED, bare_answer, check_pattern, grade_answers
from opdkit.tasks.columns import as_text, look_up
from opdkit.tasks.files import Place, Row
from opdkit.tasks.hub import looks_local, rows_of
from opdkit.tasks.shots import with_shots
from opdkit.tasks.templates import check_template, render, template_fields

_OPTIONAL = ("id", "unit", "tolerance")
_COLUMNS = {"question": "question", "answer": "answer"}
_OWN = ("question", "answer", *_OPTIONAL)


@dataclass(frozen=True)
class Records:
    """Rows of a dataset as problems; answers are graded as mathematics.

    path: a Hub dataset id (`openai/gsm8k`) or a local json, jsonl, csv or parquet file; subset and split: Hub only.
    columns: field -> column, or alternative columns; `question` and `answer` are required, `id` names the problem
    (default: the row number), any other can be used in the template and is in the problem's context for teachers. A
    path selects nested columns: `reward_model.ground_truth`, `prompt.0.content`. A list column, such as several
    answers, is joined by commas; of a chat, the last user turn is taken. Optional: `unit`, the unit of the answer, and
    `tolerance`, its numeric tolerance (several, joined by commas: one per number).
    drop: a regular expression removed from the question, for instructions contained in a dataset's prompts.
    answer_pattern: a regular expression whose first group, at its last match, is the gold answer; `boxed` takes
    the content of the last box, or the whole text without one.
    template: the user turn, with {question} and the other fields. system: the system prompt.
    limit: use only the first N rows.
    shots: number of few-shot examples before each question, as earlier turns; shots_from: the file, or the split of the
    same dataset, whose first rows are the examples, answered by the column `solution` or the boxed answer.
    Raises UserError with file and line for any error in a file.
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
    shots: int = 0
    shots_from: str | None = None

    def __post_init__(self) -> None:
        for needed in ("question", "answer"):
            if not self.columns.get(needed):
                raise UserError(f"columns.{needed} names no column; allowed: a column of the data, or a list of them")
        check_template(self.template, {name for name, column in self.columns.items() if column} - {"answer"})
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}; allowed: 1 or more")
        if self.shots < 0 or (self.shots and not self.shots_from):
            raise UserError(f"shots={self.shots}; allowed: 0, or more with shots_from, a file or a split of other rows")
        check_pattern("drop", self.drop)
        if self.answer_pattern != BOXED:
            check_pattern("answer_pattern", self.answer_pattern, groups=1)

    def load(self) -> Sequence[Problem]:
        """All problems, in row order."""
        with error_prefix("path="):
            problems = self._problems()
        return with_shots(problems, self._examples()) if self.shots else problems

    def _examples(self) -> list[Problem]:
        rows = {"path" if looks_local(str(self.shots_from)) else "split": self.shots_from, "limit": self.shots}
        if "split" in rows and looks_local(self.path):
            raise UserError(f"shots_from={self.shots_from}: path={self.path} is a file and has no splits; name a file")
        with error_prefix("shots_from="):
            examples = replace(self, **rows)._problems()
        if len(examples) < self.shots:
            raise UserError(f"shots={self.shots}: shots_from={self.shots_from} holds {len(examples)} rows")
        return examples

    def _problems(self) -> list[Problem]:
        problems: list[Problem] = []
        places: dict[str, Place] = {}
        for place, row in rows_of(self.path, self.subset, self.split):
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
        """Grades of (response, reference) pairs; see `grade_answers`."""
        return grade_answers(pairs)

    def _problem(self, place: Place, row: Row) -> Problem:
        used = template_fields(self.template) | {"answer"}
        fields = {name: self._value(place, row, name) for name in self.columns if name in used}
        if self.drop is not None and "question" in fields:
            fields["question"] = re.sub(self.drop, "", fields["question"]).strip()
        for name, value in fields.items():
            if not value.strip():
                raise UserError(f"{place}: {name} (column {self.columns[name]!r}) is empty")
        given = self._value(place, row, "id") if self.columns.get("id") else ""
        answer = bare_answer(place, fields["answer"], self.answer_pattern)
        reference = self._reference(place, row, answer)
        return Problem(
            identifier=f"{self.name}/{given or place.number}",
            messages=render(self.template, fields, self.system),
            reference=reference,
            context=self._context(row) | ({} if reference == answer else {"answer": answer}),
        )

    def _context(self, row: Row) -> dict[str, str]:
        """The other fields of a row, by the names of `columns`."""
        told: dict[str, str] = {}
        for name, wanted in self.columns.items():
            choices = [wanted] if isinstance(wanted, str) else list(wanted or [])
            values = [value for column in choices if (value := look_up(row, column)[1]) is not None]
            if name not in _OWN and values:
                told[name] = as_text(values[0])
        return told

    def _value(self, place: Place, row: Row, name: str) -> str:
        wanted = self.columns[name]
        choices = [wanted] if isinstance(wanted, str) else list(wanted)
        for column in choices:
            _, value = look_up(row, column)
            if value is not None:
                return as_text(value)
        if name in _OPTIONAL:
            return ""
        empty = [column for column in choices if look_up(row, column)[0]]
        if empty:
            raise UserError(f"{place}: column {empty[0]!r} is null, so there is no {name}")
        raise UserError(
            f"{place}: no column {' or '.join(map(repr, choices))} for {name}; "
            f"it has {', '.join(sorted(map(str, row))) or 'none'} (set columns.{name})"
        )

    def _reference(self, place: Place, row: Row, answer: str) -> str:
        """The gold answer, with unit and tolerance if columns give them."""
        unit, tolerance = [
            self._value(place, row, name).strip().strip("$").strip() if self.columns.get(name) else ""
            for name in ("unit", "tolerance")
        ]
        if unit and len(items_of(tidy(answer))) == 1:
            bare = answer.strip("$").strip()
            answer = f"{bare} {unit}" if "\\" in unit else f"{bare}\\text{{ {unit}}}"
        if not tolerance:
            return answer
        try:
            return with_tolerances(answer, read_tolerances(tolerance))
        except ValueError:
            raise UserError(
                f"{place}: tolerance (column {self.columns['tolerance']!r}) is {tolerance!r}; "
                "allowed: a number of 0 or more, or one for each number of the answer, joined by commas"
            ) from None
