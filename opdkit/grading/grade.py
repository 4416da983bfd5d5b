"""Grades full responses. Hostile text costs at most the worker's limits, and most answers need no worker."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from opdkit.data.grade import Grade
from opdkit.grading.comparison import at_once, compare
from opdkit.grading.equality import Outcome
from opdkit.grading.extraction import extract_answer
from opdkit.grading.limits import ANSWER_LIMIT, refusal
from opdkit.grading.normal_form import tidy
from opdkit.grading.pool import WorkerPool
from opdkit.grading.turns import own_turn
from opdkit.processes.pool import PoolPerProcess

RESPONSE_LIMIT = 500_000
_KEPT_CHARACTERS = 300
_CACHE_LIMIT = 50_000
_LONE_SURROGATE = re.compile(r"[\ud800-\udfff]")
_lock = threading.Lock()
_pools = PoolPerProcess(WorkerPool)
_cache: dict[tuple[object, ...], dict[str, Any]] = {}


def grade_mathematics(pairs: Sequence[tuple[str, str]]) -> list[Grade]:
    """Grades of (response, reference) pairs, where the reference is the bare gold answer.

    The status is "ok" if the answer was judged, right or wrong; "no_answer" if the response has none; "not_text" (lone
    surrogates) and "other_turn" (a chat marker before the end: the response continued into another turn) if it is not
    read at all; "too_long" (response above 500,000 or answer above 1,000 characters) and "too_complex" (nested or large
    beyond any sane answer) if algebra was not attempted; "timeout" and "crashed" if it was given up.
    """
    grades: list[Grade | None] = []
    open_questions: list[tuple[int, str, dict[str, str]]] = []
    for index, (response, reference) in enumerate(pairs):
        extracted, grade = extract_or_refuse(response)
        if grade is None:
            answer, gold = tidy(extracted), tidy(reference)
            outcome = _without_algebra(answer, gold)
            status = refusal(answer) if outcome is Outcome.OPEN else None
            if outcome is not Outcome.OPEN or status is not None:
                grade = Grade.of(outcome is Outcome.YES, shorten(extracted), status or "ok")
            else:
                request = {"kind": "algebra", "answer": answer, "reference": gold}
                open_questions.append((index, extracted, request))
        grades.append(grade)
    replies = ask([request for _, _, request in open_questions])
    for (index, extracted, _), reply in zip(open_questions, replies, strict=True):
        grades[index] = Grade.of(reply["correct"], shorten(extracted), reply["status"])
    return [grade for grade in grades if grade is not None]


def _without_algebra(answer: str, gold: str) -> Outcome:
    """The outcome without algebra; an answer that is too long is only compared as text."""
    if len(answer) > ANSWER_LIMIT or len(gold) > ANSWER_LIMIT:
        return Outcome.YES if answer == gold else Outcome.OPEN
    return compare(answer, gold, at_once)


def extract_or_refuse(response: str, limit: int = 2 * ANSWER_LIMIT) -> tuple[str, Grade | None]:
    """The answer of a response, or ("", grade) if it has none of up to `limit` characters."""
    if len(response) > RESPONSE_LIMIT:
        return "", Grade.of(False, None, "too_long")
    if _LONE_SURROGATE.search(response):
        return "", Grade.of(False, None, "not_text")
    own = own_turn(response)
    if own is None:
        return "", Grade.of(False, None, "other_turn")
    extracted = extract_answer(own)
    if extracted is None or not tidy(extracted[: 4 * ANSWER_LIMIT]):
        return "", Grade.of(False, None, "no_answer")
    if len(extracted) > limit:
        return "", Grade.of(False, shorten(extracted), "too_long")
    return extracted, None


def shorten(extracted: str) -> str:
    """The extracted answer for storage: long ones are truncated with a mark."""
    return extracted if len(extracted) <= _KEPT_CHARACTERS else extracted[:_KEPT_CHARACTERS] + "…"


def ask(requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Replies of this process's worker pool, with a cache of earlier requests."""
    keys = [_key(request) for request in requests]
    with _lock:
        unknown = {key: request for key, request in zip(keys, requests, strict=True) if key not in _cache}
        replies = dict(zip(unknown, _pools.get().ask(list(unknown.values())), strict=True)) if unknown else {}
        if len(_cache) + len(replies) > _CACHE_LIMIT:
            _cache.clear()
        known = {key: _cache[key] for key in keys if key in _cache} | replies
        # A crash or timeout may be the machine's fault: it is only cached within this call.
        _cache.update({key: reply for key, reply in replies.items() if reply["status"] == "ok"})
    return [known[key] for key in keys]


def _key(request: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(sorted((name, repr(value)) for name, value in request.items()))
