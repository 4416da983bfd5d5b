"""Any dataset as a task: columns are detected and reported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.data.template import fill, template_fields
from opdkit.errors import UserError, error_prefix
from opdkit.tasks.answers import BOXED, bare_answer, check_pattern, grade_answers
from opdkit.tasks.columns import as_text, look_up
from opdkit.tasks.files import Place, Row
from opdkit.tasks.guessing import Columns, guess_columns, guess_pattern
from opdkit.tasks.hub import read_rows
from opdkit.tasks.mixing import mix
from opdkit.tasks.turns import read_turns, split_answer, with_system

_AUTO = "auto"
_KEYS = ("question", "answer", "solution", "id", "system")


@dataclass(frozen=True)
class Dataset:
    """Problems from a file or Hub dataset with arbitrary column names.

    A question is a text or a chat (`messages`, `conversations`, `prompt`); system and few-shot turns are kept, a final
    assistant turn is the answer. Answers are graded as mathematics; a row without an answer has no reward.

    Attributes:
        name: its name in files and tables.
        path: a json, jsonl, csv or parquet file, or a Hub dataset id; or a list of them.
        weights: mixing proportions of several paths per epoch. Empty: each problem once.
        subset: configuration of a Hub dataset.
        split: split of a Hub dataset.
        columns: question, answer, solution, id or system -> a column, a path into nested ones
            (`reward_model.ground_truth`), null for none, or `auto` (the default): detected.
        template: the final user turn, with fields {question} and columns of the dataset.
        system: system prompt. null: the dataset's own.
        answer_pattern: a regular expression whose first group, at its last match, is the gold answer; `boxed`; null
            for the whole text; `auto`: detects `#### x` and `boxed`.
        limit: use only the first rows of each path.
        require_answers: raise an error for rows without answers.
    """

    path: str | Sequence[str]
    name: str = "dataset"
    weights: Sequence[float] = ()
    subset: str | None = None
    split: str = "train"
    columns: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"])
    template: str = "{question}"
    system: str | None = None
    answer_pattern: str | None = _AUTO
    limit: int | None = None
    require_answers: bool = False

    def __post_init__(self) -> None:
        for key in self.columns:
            if key not in _KEYS:
                raise UserError(f"columns.{key}: no such field; allowed: {', '.join(_KEYS)}")
        if not template_fields(self.template):
            raise UserError(f"template={self.template!r} has no field; allowed: {{question}} and columns of the set")
        if self.answer_pattern not in (_AUTO, BOXED):
            check_pattern("answer_pattern", self.answer_pattern, groups=1)
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}; allowed: 1 or more")
        if self.weights and len(self.weights) != len(self._paths):
            raise UserError(f"weights={list(self.weights)}; allowed: one for each of the {len(self._paths)} paths")
        if any(not weight > 0 for weight in self.weights):
            raise UserError(f"weights={list(self.weights)}; allowed: numbers above 0")

    def load(self) -> Sequence[Problem]:
        """All problems, in row order."""
        lists = [problems for _, problems in self._parts]
        return mix(lists, self.weights) if self.weights else [one for problems in lists for one in problems]

    def told(self) -> Sequence[str]:
        """Per path, the number of problems and the detected columns."""
        return [told for told, _ in self._parts]

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, reference) pairs as mathematics; unknown without a reference."""
        graded = iter(grade_answers([pair for pair in pairs if pair[1]]))
        unknown = Grade(0.0, status="no_reference", counts=False)
        return [next(graded) if reference else unknown for _, reference in pairs]

    @property
    def _paths(self) -> list[str]:
        return [self.path] if isinstance(self.path, str) else list(self.path)

    @cached_property
    def _parts(self) -> list[tuple[str, list[Problem]]]:
        """The report line and the problems of each path."""
        with error_prefix("path="):
            if not any(self._paths):
                raise UserError("no file or hub id is given")
            several = len(self._paths) > 1
            return [
                _Reader(self, path, f"{self.name}/{number}" if several else self.name).read()
                for number, path in enumerate(self._paths, start=1)
            ]


@dataclass(frozen=True)
class _Reader:
    """Reads one path of a dataset. prefix: prefix of its problem identifiers."""

    dataset: Dataset
    path: str
    prefix: str

    def read(self) -> tuple[str, list[Problem]]:
        """Its report line and its problems."""
        chosen = self.dataset
        rows = read_rows(self.path, chosen.subset, chosen.split, chosen.limit)
        given = {name: column for name, column in chosen.columns.items() if column != _AUTO}
        columns = guess_columns([row for _, row in rows], given, self.path)
        asked = [self._turns(place, row, columns) for place, row in rows]
        answers = [self._answer_text(row, columns, own) for (_, row), (_, own) in zip(rows, asked, strict=True)]
        known = [answer for answer in answers if answer]
        if chosen.require_answers and len(known) < len(rows):
            raise UserError(
                f"{self.path}: {len(rows) - len(known)} of {len(rows)} rows have no answer to grade by "
                f"({columns}; set columns.answer)"
            )
        pattern = guess_pattern(known) if chosen.answer_pattern == _AUTO else chosen.answer_pattern
        problems = [
            self._problem(number, row, columns, turns, bare_answer(place, answer, pattern) if answer else "", answer)
            for number, ((place, row), (turns, _), answer) in enumerate(zip(rows, asked, answers, strict=True), start=1)
        ]
        return self._told(columns, asked, len(known), pattern), problems

    def _turns(self, place: Place, row: Row, columns: Columns) -> tuple[tuple[Message, ...], str | None]:
        """The prompt chat, with template and system prompt, and the answer that follows it in the dataset."""
        value = look_up(row, columns.question)[1]
        turns = read_turns(place, value)
        if turns is None:
            turns = (Message("user", "" if value is None else as_text(value)),)
        turns, own = split_answer(turns)
        if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
            raise UserError(
                f"{place}: column {columns.question!r} has no question (a text, or a chat that ends with one)"
            )
        last = Message("user", self._filled(place, row, turns[-1].content.strip()))
        system = self.dataset.system
        if system is None and columns.system is not None:
            system = as_text(look_up(row, columns.system)[1] or "")
        return with_system((*turns[:-1], last), system), own

    def _filled(self, place: Place, row: Row, question: str) -> str:
        wanted = template_fields(self.dataset.template) - {"question"}
        missing = sorted(name for name in wanted if row.get(name) is None)
        if missing:
            raise UserError(
                f"{place}: template asks for {{{missing[0]}}}, which the row does not have; "
                f"allowed: {{question}}, {', '.join('{' + str(name) + '}' for name in row)}"
            )
        return fill(self.dataset.template, {"question": question} | {name: as_text(row[name]) for name in wanted})

    def _answer_text(self, row: Row, columns: Columns, own: str | None) -> str:
        value = look_up(row, columns.answer)[1] if columns.answer else own
        return "" if value is None else as_text(value).strip()

    def _problem(
        self, number: int, row: Row, columns: Columns, turns: tuple[Message, ...], reference: str, answer: str
    ) -> Problem:
        given = as_text(look_up(row, columns.id)[1]) if columns.id else number
        solution = look_up(row, columns.solution)[1] if columns.solution else None
        worked = as_text(solution) if solution not in (None, "") else answer if answer != reference else ""
        return Problem(f"{self.prefix}/{given}", turns, reference, {"solution": worked} if worked else {})

    def _told(
        self,
        columns: Columns,
        asked: Sequence[tuple[tuple[Message, ...], str | None]],
        known: int,
        pattern: str | None,
    ) -> str:
        own = [[turn for turn in turns if turn.role != "system" or not self.dataset.system] for turns, _ in asked]
        chats = sum(len(turns) > 1 for turns in own)
        lines = [f"{self.path}: {len(asked)} problems; {columns}"]
        if columns.answer is None and known:
            lines.append("answer from the last assistant's turn")
        if chats:
            lines.append(f"{chats} with a system or earlier turns, kept")
        if pattern is not None and known:
            lines.append(f"answer_pattern={pattern}")
        if known < len(asked):
            lines.append(f"{len(asked) - known} without an answer, whose reward is unknown")
        return "; ".join(lines)
