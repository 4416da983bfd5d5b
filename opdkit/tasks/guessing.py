"""Detects the columns of an unknown dataset: question, answer and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from opdkit.errors import UserError
from opdkit.tasks.columns import as_text, look_up

_QUESTIONS = (
    "messages", "conversations", "conversation", "chat", "question", "problem", "prompt", "instruction", "query",
    "input",
)  # fmt: skip
_ANSWERS = (
    "reward_model.ground_truth", "ground_truth", "answer", "final_answer", "expected_answer", "gold", "target",
    "solution", "label", "output", "response", "completion",
)  # fmt: skip
_SOLUTIONS = ("solution", "rationale", "extra_info.answer")
_IDENTIFIERS = ("id", "uid", "unique_id", "problem_id", "index", "extra_info.index")
_SYSTEMS = ("system", "system_prompt")
_GSM8K = r"####\s*(.+)"
_LOOKED_AT = 1000


@dataclass(frozen=True)
class Columns:
    """Columns of a dataset by role: names, or paths to nested fields. None: absent.

    Attributes:
        question: the question, or a chat as a list of turns.
        answer: the gold answer.
        solution: a worked solution.
        id: the row's identifier.
        system: the system prompt.
    """

    question: str
    answer: str | None = None
    solution: str | None = None
    id: str | None = None
    system: str | None = None

    def __str__(self) -> str:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return ", ".join(f"{name} from {column!r}" for name, column in named.items() if column)


def guess_columns(rows: Sequence[Mapping[str, object]], given: Mapping[str, str | None], origin: str) -> Columns:
    """Detects the columns of `rows`, of which `given` are set by the user.

    Raises UserError if no column looks like a question, and for a given column that no row has.
    """
    first = rows[:_LOOKED_AT]
    check_given(first, given, origin)
    question = given.get("question") or find_column(first, _QUESTIONS)
    if question is None:
        raise UserError(
            f"{origin}: no column looks like a question ({', '.join(_QUESTIONS)}); there are {column_names(first)} "
            "(set task.columns.question=...)"
        )
    found = Columns(
        question,
        given["answer"] if "answer" in given else find_column(first, _ANSWERS, without=(question,)),
        id=given["id"] if "id" in given else unique_column(rows),
        system=given["system"] if "system" in given else find_column(first, _SYSTEMS),
    )
    taken = (question, *((found.answer,) if found.answer else ()))
    return replace(found, solution=given["solution"] if "solution" in given else find_column(first, _SOLUTIONS, taken))


def check_given(rows: Sequence[Mapping[str, object]], given: Mapping[str, str | None], origin: str) -> None:
    """Raises UserError for a column set by the user that no row has."""
    for name, column in given.items():
        if column is not None and not any_has(rows, column):
            raise UserError(f"{origin}: columns.{name}={column}: no row has it; there are {column_names(rows)}")


def guess_pattern(answers: Sequence[str]) -> str | None:
    """The `answer_pattern` that fits every answer: GSM8K's `#### answer`, `boxed`, or None for the whole text."""
    if answers and all("####" in answer for answer in answers):
        return _GSM8K
    if answers and all("\\boxed" in answer for answer in answers):
        return "boxed"
    return None


def find_column(rows: Sequence[Mapping[str, object]], names: Sequence[str], without: Sequence[str] = ()) -> str | None:
    """The first of `names` that is non-empty in some row."""
    return next((name for name in names if name not in without and any_has(rows, name)), None)


def any_has(rows: Sequence[Mapping[str, object]], column: str) -> bool:
    """Whether the column is non-empty in some row."""
    return any(look_up(row, column)[1] not in (None, "", []) for row in rows)


def unique_column(rows: Sequence[Mapping[str, object]], names: Sequence[str] = _IDENTIFIERS) -> str | None:
    """The first of the usual names whose values are present and unique."""
    for name in names:
        values = [look_up(row, name)[1] for row in rows]
        if all(value not in (None, "") for value in values) and len(set(map(as_text, values))) == len(rows):
            return name
    return None


def column_names(rows: Sequence[Mapping[str, object]]) -> str:
    """All columns, for messages."""
    return ", ".join(sorted({str(name) for row in rows for name in row})) or "none"
