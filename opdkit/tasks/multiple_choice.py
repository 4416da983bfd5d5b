"""Multiple-choice questions, as in GPQA."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from string import ascii_uppercase

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError, error_prefix
from opdkit.seeding import derive_seed
from opdkit.tasks.answers import grade_answers
from opdkit.tasks.columns import as_text, look_up
from opdkit.tasks.files import Place, Row
from opdkit.tasks.hub import rows_of


@dataclass(frozen=True)
class MultipleChoice:
    """Rows with correct and wrong options in separate columns. The gold answer is a letter.

    Options are shuffled by `seed` and the row number, so that the letter of the answer is random.

    Attributes:
        name: its name in files and tables.
        path: a json, jsonl, csv or parquet file, or a Hub dataset id.
        subset: configuration of a Hub dataset.
        split: split of a Hub dataset.
        question: question column.
        right: column of the correct option.
        wrong: columns of the other options, at least one.
        template: the user turn, with fields {question} and {options}.
        seed: seed of the order of the options.
        limit: use only the first N rows.
    """

    name: str
    path: str
    question: str
    right: str
    wrong: Sequence[str]
    template: str
    subset: str | None = None
    split: str = "train"
    seed: int = 0
    limit: int | None = None

    def __post_init__(self) -> None:
        if template_fields(self.template) != {"question", "options"}:
            raise UserError(f"template={self.template!r}: must hold {{question}} and {{options}}, and no other field")
        if not 1 <= len(self.wrong) < len(ascii_uppercase):
            raise UserError(f"wrong={list(self.wrong)}: must name 1 to {len(ascii_uppercase) - 1} columns")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}: must be at least 1")

    def load(self) -> Sequence[Problem]:
        """All problems, in row order."""
        with error_prefix("path="):
            rows = islice(rows_of(self.path, self.subset, self.split), self.limit)
            problems = [self._problem(number, place, row) for number, (place, row) in enumerate(rows, start=1)]
            if not problems:
                raise UserError(f"{self.path}: holds no rows")
        return problems

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, letter) pairs, extracted like mathematical answers: `\\boxed{C}`, `Answer: (C)`."""
        return grade_answers(pairs)

    def _problem(self, number: int, place: Place, row: Row) -> Problem:
        right, *wrong = (self._text(place, row, column) for column in (self.right, *self.wrong))
        if right in wrong:
            raise UserError(f"{place}: column {self.right!r} stands among the wrong options, too")
        options = [right, *wrong]
        random.Random(derive_seed(self.seed, "options", number)).shuffle(options)
        lettered = "\n".join(f"({letter}) {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
        question = self._text(place, row, self.question)
        turn = Message("user", fill(self.template, {"question": question, "options": lettered}))
        return Problem(f"{self.name}/{number}", (turn,), ascii_uppercase[options.index(right)])

    def _text(self, place: Place, row: Row, column: str) -> str:
        found, value = look_up(row, column)
        text = as_text(value).strip() if found and value is not None else ""
        if not text:
            raise UserError(f"{place}: has no {column!r}; its columns: {', '.join(map(str, row))}")
        return text
