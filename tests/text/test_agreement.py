from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest

from opdkit.data.problem import Message, Problem
from opdkit.rewards.judgements import read_rubric, read_verdicts
from opdkit.rewards.prompts import rubricator_chat, verifier_chat
from opdkit.text import AgreementScript, Chat
from opdkit.text.agreement import FORMS

PROBLEM = Problem("p", (Message("user", "Work out 3 + 4 - 5 + 9 step by step."),), "11")
RIGHT = "1. 3 + 4 = 7\n2. 7 - 5 = 2\n3. 2 + 9 = 11\n\\boxed{11}"
SLIPPED = "1. 3 + 4 = 8\n2. 8 - 5 = 3\n3. 3 + 9 = 12\n\\boxed{12}"
LATE = "1. 3 + 4 = 7\n2. 7 - 5 = 2\n3. 2 + 9 = 12\n\\boxed{12}"
PROSE = "no idea"


def said(chat: Chat) -> str | None:
    return AgreementScript().open(None).complete([chat])[0]


def rubric(teachers: Sequence[str], students: Sequence[str]) -> list[tuple[str, int]]:
    criteria = read_rubric(said(rubricator_chat(PROBLEM, teachers, students, 0, 999)))
    return [(one.text, one.weight) for one in criteria]


def values(teachers: Sequence[str]) -> list[str]:
    """What the criteria about values name, beside a student that meets none."""
    return [text.split()[-1][:-1] for text, weight in rubric(teachers, [PROSE]) if weight > 1]


@pytest.mark.parametrize(
    ("teachers", "named"),
    [
        ([RIGHT], ["11", "7", "2"]),
        ([SLIPPED], ["12", "8", "3"]),
        ([RIGHT, SLIPPED], []),
        ([RIGHT, RIGHT, SLIPPED], ["11", "7", "2"]),
        ([RIGHT, RIGHT, LATE, SLIPPED], ["7", "2"]),
        ([RIGHT, RIGHT, LATE, PROSE], ["11", "7", "2"]),
        ([PROSE], []),
    ],
)
def test_criteria_are_what_the_answers_agree_on_right_or_wrong(teachers: list[str], named: list[str]) -> None:
    assert values(teachers) == named


def test_what_every_student_answer_meets_is_left_out_but_for_four() -> None:
    own = dict(rubric([RIGHT], [RIGHT]))
    assert list(own) == [
        "The boxed answer is 11.",
        "The response reaches the intermediate result 7.",
        "The response reaches the intermediate result 2.",
        next(iter(FORMS)),
    ]
    shared = dict(rubric([RIGHT], [RIGHT, PROSE]))
    assert list(shared.values()) == [5, 2, 2, 1, 1, 1]
    assert "Each equation begins with the result of the one before it." not in shared


def steps(*results: int) -> str:
    """A sum of ones and sixes by its results."""
    lines = [f"{n}. {a} + 6 = {b}" for n, (a, b) in enumerate(pairwise((1, *results)), start=1)]
    return "\n".join(lines) + f"\n\\boxed{{{results[-1]}}}"


@pytest.mark.parametrize(
    ("right", "late", "early", "apart"),
    [
        ((7, 13, 19), (7, 13, 20), (8, 14, 20), False),
        ((7, 13, 19, 25, 31, 37), (7, 13, 19, 25, 31, 38), (8, 14, 20, 26, 32, 38), True),
    ],
)
def test_own_rubrics_differ_from_the_shared_one_in_longer_sums_alone(
    right: tuple[int, ...], late: tuple[int, ...], early: tuple[int, ...], *, apart: bool
) -> None:
    """A sum of four terms has three values to name, and a rubric has four criteria at least."""
    answers = [steps(*one) for one in (right, late, early)]
    shared = rubric(answers[:1], answers)
    own = [rubric(answers[:1], [one]) for one in answers]
    assert [one != shared for one in own] == [apart, apart, False]


def test_verdicts_follow_the_criteria_and_nothing_else() -> None:
    criteria = read_rubric(said(rubricator_chat(PROBLEM, [SLIPPED], [PROSE], 0, 999)))
    pool = [RIGHT, SLIPPED, "\\boxed{12}", "The boxed answer is 12. \\boxed{1} \\boxed{12}"]
    answer = said(verifier_chat(PROBLEM, criteria, pool, 0, 999))
    found = read_verdicts(answer, len(pool), len(criteria))
    assert [sum(w for w, ok in zip((5, 2, 2, 1, 1, 1), row, strict=True) if ok) for row in found] == [3, 12, 6, 5]


def test_it_judges_no_criterion_of_others_and_writes_no_answers() -> None:
    schema = {"title": "verdicts"}
    material = "[[criterion 1 0123456789abcdef]]\nIt is polite.\n[[end 0123456789abcdef]]\n"
    material += "[[response 1 0123456789abcdef]]\nThanks.\n[[end 0123456789abcdef]]"
    answer = said(Chat((Message("user", material),), 0, schema))
    assert json.loads(answer or "")["verdicts"] == [{"response": 1, "passed": [False]}]
    assert (said(Chat(PROBLEM.messages, 0)) or "").startswith("I am a script")
