"""Prompts with verifiable instructions, as in IFEval."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast, get_args

from opdkit.data.grade import Grade
from opdkit.data.problem import Message, Problem
from opdkit.errors import UserError, error_prefix
from opdkit.extras import need_package
from opdkit.grading.grade import RESPONSE_LIMIT, ask
from opdkit.tasks.files import Place, Row
from opdkit.tasks.hub import rows_of

Strictness = Literal["strict", "loose"]


@dataclass(frozen=True)
class Instructed:
    """Rows with `prompt`, `instruction_id_list` and `kwargs` (one per instruction), named by `key`.

    A response is correct if it follows every instruction; its reward is the fraction followed. Reasoning before
    `</think>` is ignored.

    Attributes:
        name: its name in files and tables.
        path: a json, jsonl or parquet file, or a Hub dataset id.
        subset: configuration of a Hub dataset.
        split: split of a Hub dataset.
        strictness: strict, or loose: also accepts the response without its first line, its last line or its
            asterisks.
        system: system prompt, None for none.
        limit: use only the first N rows.
    """

    name: str
    path: str
    subset: str | None = None
    split: str = "train"
    strictness: Strictness = "strict"
    system: str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.strictness not in get_args(Strictness):
            raise UserError(f"strictness={self.strictness!r}; allowed: {', '.join(get_args(Strictness))}")
        if self.limit is not None and self.limit < 1:
            raise UserError(f"limit={self.limit}: must be at least 1")

    def load(self) -> Sequence[Problem]:
        """All problems, in row order. Raises UserError if the checkers or their data are missing."""
        need_package("if_verifiable", "ifeval")
        with error_prefix("path="):
            rows = islice(rows_of(self.path, self.subset, self.split), self.limit)
            problems = [self._problem(place, row) for place, row in rows]
            if not problems:
                raise UserError(f"{self.path}: holds no rows")
        return problems

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Grade]:
        """Grades of (response, instructions) pairs. The status is "too_long" or "not_text" if a response is not read,
        "timeout" or "crashed" if a check was given up."""
        requests: list[dict[str, Any]] = []
        counts: list[int] = []
        for response, reference in pairs:
            asked = [] if _unread(response) else json.loads(reference)
            counts.append(len(asked))
            requests += [
                {
                    "kind": "instruction",
                    "answer": response,
                    "instruction": instruction,
                    "arguments": json.dumps(arguments),
                    "loose": self.strictness == "loose",
                }
                for instruction, arguments in asked
            ]
        replies = iter(ask(requests))
        return [
            _grade(list(islice(replies, count)), _unread(response))
            for (response, _), count in zip(pairs, counts, strict=True)
        ]

    def _problem(self, place: Place, row: Row) -> Problem:
        prompt = row.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise UserError(f"{place}: has no prompt; needed: prompt, instruction_id_list, kwargs")
        asked = _instructions(place, row)
        system = () if self.system is None else (Message("system", self.system),)
        name = row.get("key", place.number)
        return Problem(f"{self.name}/{name}", (*system, Message("user", prompt)), json.dumps(asked))


def _instructions(place: Place, row: Row) -> list[tuple[str, Mapping[str, object]]]:
    """The instructions of a row with their non-null arguments."""
    from opdkit.grading.instruction_checks import CHECKERS, lacks_sentences

    names, arguments = row.get("instruction_id_list"), row.get("kwargs")
    if not isinstance(names, list) or not isinstance(arguments, list) or not 0 < len(names) == len(arguments):
        raise UserError(f"{place}: instruction_id_list and kwargs must be lists of one length, an entry an instruction")
    asked: list[tuple[str, Mapping[str, object]]] = []
    for name, given in zip(cast("list[object]", names), cast("list[object]", arguments), strict=True):
        if not isinstance(name, str) or name not in CHECKERS:
            raise UserError(f"{place}: no instruction {name!r}; allowed: {', '.join(sorted(CHECKERS))}")
        if not isinstance(given, Mapping):
            raise UserError(f"{place}: the kwargs of {name} must be an object")
        if lacks_sentences(name):
            raise UserError(
                f"{place}: {name} needs nltk's data on where sentences end: python -m nltk.downloader punkt_tab"
            )
        told = cast("Mapping[str, object]", given)
        asked.append((name, {key: value for key, value in told.items() if value is not None}))
    return asked


def _unread(response: str) -> str | None:
    """The status of a response that is not checked."""
    if len(response) > RESPONSE_LIMIT:
        return "too_long"
    return "not_text" if any("\ud800" <= sign <= "\udfff" for sign in response) else None


def _grade(replies: Sequence[Mapping[str, Any]], unread: str | None) -> Grade:
    if unread is not None:
        return Grade.of(False, None, unread)
    followed = sum(reply["correct"] for reply in replies)
    status = next((reply["status"] for reply in replies if reply["status"] != "ok"), "ok")
    share, told = followed / len(replies), f"{followed} of {len(replies)} followed"
    return Grade(share, followed == len(replies), told, status, {"followed": share})
