"""Questions with lettered options, one of which is right, as GPQA has them."""

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
    """Rows whose right and wrong options stand in columns of their own. A gold answer is a letter.

    The options of a row are shuffled by `seed` and the row's number, so that the right letter tells nothing.

    Attributes:
        name: what files and tables call it.
        path: a json, jsonl, csv or parquet file, or a hub id.
        subset: of a set on the hub.
        split: of a set on the hub.
        question: the column of the question.
        right: the column of the right option.
        wrong: the columns of the others, at least one.
        template: the user's turn, {question} and {options} filled in.
        seed: of the order of the options.
        limit: the first rows only.
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
        """All problems, in the order of the rows."""
        with error_prefix("path="):
            rows = islice(rows_of(self.path, self.subset, self.split), self.limit)
            problems = [self._problem(number, place, row) for number, (place, row) in enumerate(rows, start=1)]
            if not problems:
                raise UserError(f"{self.path}: holds no rows")
        return problems

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, letter) pairs, read as answers of mathematics are: `\\boxed{C}`, `Answer: (C)`."""
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
