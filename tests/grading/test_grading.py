from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from opdkit.grading.grade import RESPONSE_LIMIT, grade_mathematics
from opdkit.tasks import Records
from tests.grading.grading_cases import DIFFERENT, EQUAL, HOSTILE
from tests.grading.notation_cases import ALIKE, NEAR_MISSES
from tests.tasks.shared import shared_file

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


def correct(answer: str, gold: str) -> bool:
    (grade,) = grade_mathematics([(f"so \\boxed{{{answer}}}", gold)])
    assert grade.status == "ok"
    return grade.correct


@pytest.mark.parametrize(("gold", "answer"), EQUAL)
def test_equal_answers_are_accepted(gold: str, answer: str) -> None:
    assert correct(answer, gold)


@pytest.mark.parametrize(("gold", "answer"), DIFFERENT)
def test_different_answers_are_refused(gold: str, answer: str) -> None:
    assert not correct(answer, gold)


def test_an_answer_in_another_notation_is_accepted() -> None:
    grades = grade_mathematics([(f"thus \\boxed{{{answer}}}", gold) for gold, answer in ALIKE])
    assert [pair for pair, grade in zip(ALIKE, grades, strict=True) if not grade.correct] == []
    assert {grade.status for grade in grades} == {"ok"}


def test_a_near_miss_is_refused() -> None:
    grades = grade_mathematics([(f"thus \\boxed{{{answer}}}", gold) for gold, answer in NEAR_MISSES])
    assert [pair for pair, grade in zip(NEAR_MISSES, grades, strict=True) if grade.correct] == []


RESPONSES = [
    ("\\boxed{5}<|im_end|>", True, "ok"),
    ("\\boxed{5}</s>\n<|endoftext|>", True, "ok"),
    ("\\boxed{5}<|im_end|>\n<|im_start|>user\nAnd now?", False, "other_turn"),
    ("<|im_start|>assistant\n\\boxed{5}<|im_end|>", False, "other_turn"),
    ("\\boxed{5}<end_of_turn><start_of_turn>user", False, "other_turn"),
    ("[INST] 2+3 [/INST] \\boxed{5}", False, "other_turn"),
    ("\\boxed{5}\ud800", False, "not_text"),
    ("\\boxed{5}\ufffd", True, "ok"),
    ("\\boxed{5}" + "x" * 1_000_000, False, "too_long"),
    ("", False, "no_answer"),
    ("\\boxed{4} no, \\boxed{5}", True, "ok"),
    ("\\boxed{\\boxed{5}}", True, "ok"),
    ("\\boxed{5", False, "no_answer"),
    ("\\boxed{4}, that is \\boxed{5", False, "no_answer"),
    ("\\boxed{{5}", False, "no_answer"),
    ("\\boxed{5}}}}", True, "ok"),
    ("<think>\\boxed{4}</think>\\boxed{5}", True, "ok"),
    ("<think>\\boxed{5}</think>", True, "ok"),
    ("\\boxed{" + "5" * 3000 + "}", False, "too_long"),
]


@pytest.mark.parametrize(("response", "correct", "status"), RESPONSES, ids=range(len(RESPONSES)))
def test_what_a_response_may_hold_beside_its_answer(response: str, correct: bool, status: str) -> None:
    (grade,) = grade_mathematics([(response, "5")])
    assert (grade.correct, grade.status) == (correct, status)


def test_a_verdict_says_what_was_read_and_why_nothing_was() -> None:
    grades = grade_mathematics(
        [("The answer is 5.", "5"), ("5", "5"), ("", ""), ("\\boxed{}", ""), ("x" * (RESPONSE_LIMIT + 1), "5")]
    )
    assert [grade.status for grade in grades] == ["ok", "no_answer", "no_answer", "no_answer", "too_long"]
    assert [grade.correct for grade in grades] == [True, False, False, False, False]
    assert grades[0].extracted == "5"
    assert grades[1].extracted is None


def test_the_last_of_two_boxes_counts() -> None:
    first, second = grade_mathematics([("\\boxed{1} no, \\boxed{2}", "2"), ("\\boxed{1} no, \\boxed{2}", "1")])
    assert first.correct
    assert not second.correct


def test_verdicts_keep_the_order_of_the_pairs() -> None:
    pairs = [(f"\\boxed{{\\sqrt{{{i * i}}}}}", str(i if i % 3 else i + 1)) for i in range(1, 60)]
    assert [grade.correct for grade in grade_mathematics(pairs)] == [bool(i % 3) for i in range(1, 60)]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_costs_little_and_is_wrong(name: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    grade_mathematics([("\\boxed{\\sqrt{4}}", "2")])  # a worker is there
    text = HOSTILE[name].replace("{marker}", str(marker))
    responses = [f"\\boxed{{{text}}}", f"The answer is {text}", text]
    started = time.process_time()
    grades = grade_mathematics([(response, gold) for response in responses for gold in ("5", "x^2+1")])
    assert time.process_time() - started < 3.0
    assert not any(grade.correct for grade in grades)
    assert all(grade.extracted is None or len(grade.extracted) < 400 for grade in grades)
    json.dumps([grade.extracted for grade in grades])
    assert not marker.exists()


COSTLY = r"\sum_{k=1}^{\infty} \frac{\sin(k^2+\sqrt{k})}{k^2+\pi k+7}"


def test_a_costly_answer_is_given_up_and_says_so() -> None:
    started = time.monotonic()
    (grade,) = grade_mathematics([(f"\\boxed{{{COSTLY}}}", "70")])
    assert (grade.correct, grade.status) == (False, "timeout")
    assert time.monotonic() - started < 60.0  # a few seconds of processor time, however busy the machine is


def test_ten_thousand_plain_answers_take_seconds() -> None:
    pairs = [(f"step {i}\n\\boxed{{{i % 7}}}" if i % 50 else "\\boxed{9**9**9**9}", str(i % 5)) for i in range(10_000)]
    started = time.process_time()
    grades = grade_mathematics(pairs)
    assert time.process_time() - started < 20.0
    assert [grade.correct for grade in grades] == [bool(i % 50) and i % 7 == i % 5 for i in range(10_000)]


def source(path: Path, **settings: object) -> Records:
    return Records(name="gold", path=str(path), **settings)  # pyright: ignore[reportArgumentType]


PROBLEM = {"columns": {"question": "problem", "answer": "answer"}}
FINAL = {"answer_pattern": r"####\s*(.+)"}


def assert_own_gold_is_accepted(records: Records) -> None:
    problems = records.load()
    for form in ("thus \\boxed{%s}.", "thus\n#### %s", "The answer is $%s$."):
        grades = records.grade([(form % problem.reference, problem.reference) for problem in problems])
        refused = [problem.reference for problem, grade in zip(problems, grades, strict=True) if not grade.correct]
        assert refused == []


def test_own_gold_of_our_fixtures_is_accepted() -> None:
    assert_own_gold_is_accepted(source(FIXTURES / "competition.jsonl", **PROBLEM))
    assert_own_gold_is_accepted(source(FIXTURES / "word_problems.jsonl", **FINAL))


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("math500.jsonl", PROBLEM, 500),
        ("aime24.jsonl", PROBLEM, 30),
        ("amc23.jsonl", PROBLEM, 40),
        ("gsm8k_test.jsonl", FINAL, 1319),
        ("gsm8k_train.jsonl", FINAL, 7473),
        ("dapo_math_17k.jsonl", {"columns": {"question": "prompt", "answer": "solution"}}, 17398),
    ],
)
def test_own_gold_of_public_sets_is_accepted(name: str, settings: dict[str, object], count: int) -> None:
    records = source(shared_file(name), **settings)
    assert len(records.load()) == count
    assert_own_gold_is_accepted(records)


def test_gold_of_another_problem_is_refused() -> None:
    problems = source(FIXTURES / "competition.jsonl", **PROBLEM).load()
    golds = [problem.reference for problem in problems]
    pairs = [
        (f"\\boxed{{{golds[i]}}}", golds[(i + shift) % len(golds)]) for shift in (1, 2, 3) for i in range(len(golds))
    ]
    accepted = [pair for pair, grade in zip(pairs, grade_mathematics(pairs), strict=True) if grade.correct]
    assert accepted == []
