"""Every kind of answer that docs/grading.md decides on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.grading.grade import grade_mathematics
from opdkit.grading.turns import own_turn
from tests.grading.kind_cases import RIGHT, WRONG
from tests.tasks.shared import shared_file


def response(answer: str) -> str:
    if "$" in answer:
        return f"The answer is {answer}."
    return answer if "boxed" in answer else f"So we obtain \\boxed{{{answer}}}"


@pytest.mark.parametrize(("cases", "correct"), [(RIGHT, True), (WRONG, False)], ids=["right", "wrong"])
def test_each_kind_is_told(cases: list[tuple[str, str]], correct: bool) -> None:
    grades = grade_mathematics([(response(answer), gold) for gold, answer in cases])
    assert [pair for pair, grade in zip(cases, grades, strict=True) if grade.correct != correct] == []
    assert {grade.status for grade in grades} == {"ok"}


def test_the_shared_cases_are_told() -> None:
    cases = [json.loads(line) for line in shared_file("../cases/grader.jsonl").read_text("utf-8").splitlines()]
    grades = grade_mathematics([(case["response"], case["gold"]) for case in cases])
    assert [case["why"] for case, grade in zip(cases, grades, strict=True) if grade.correct != case["correct"]] == []


def test_answers_of_the_same_kinds_in_other_words_are_told() -> None:
    """Cases written after the grader and checked by hand; what failed at first was mended by its kind."""
    lines = (Path(__file__).parents[1] / "fixtures" / "adversarial_answers.jsonl").read_text("utf-8").splitlines()
    cases = [json.loads(line) for line in lines]
    grades = grade_mathematics([(case["response"], case["gold"]) for case in cases])
    assert [case for case, grade in zip(cases, grades, strict=True) if grade.correct != case["correct"]] == []


BOXES = [
    (r"The roots are $x=\boxed{2}$ and $x=\boxed{-7}$.", "2,-7", True),
    (r"$\boxed{2}$, $\boxed{-7}$", "-7,2", True),
    (r"\boxed{2} \quad \text{and} \quad \boxed{-7}", "2,-7", True),
    (r"$x=\boxed{2}$, $y=\boxed{-7}$", "(2,-7)", True),
    (r"$x=\boxed{2}$, $y=\boxed{-7}$", "(-7,2)", False),
    (r"\boxed{2} or \boxed{-7}", "-7", False),
    (r"\boxed{2} or \boxed{-7}", "2", False),
    (r"\boxed{2}, \boxed{3}", "2,-7", False),
    (r"\boxed{2} no, \boxed{-7}", "-7", True),
    (r"\boxed{2}. Wait, it is \boxed{-7}.", "-7", True),
    (r"\boxed{5}, again \boxed{5}", "5", True),
    ("\\boxed{5}\n\n\\boxed{5}", "5", True),
]


@pytest.mark.parametrize(("text", "gold", "correct"), BOXES)
def test_neighbouring_boxes_are_one_list_and_else_the_last_counts(text: str, gold: str, correct: bool) -> None:
    assert grade_mathematics([(text, gold)])[0].correct is correct


REASONING = [
    ("<think>so \\boxed{7}", False),
    ("<think>so \\boxed{7}</think>", True),
    ("<think>a</think><think>so \\boxed{7}", False),
    ("\\boxed{7}<think>or \\boxed{8}", True),
    ("so \\boxed{7}", True),
    ("[THINK]so \\boxed{7}", False),
    ("[THINK]\\boxed{3}[/THINK]\\boxed{7}", True),
    ("\u25c1think\u25b7so \\boxed{7}", False),
    ("<|channel|>analysis<|message|>\\boxed{3}<|end|><|start|>assistant<|channel|>final<|message|>\\boxed{7}", True),
    ("<|channel|>analysis<|message|>so \\boxed{7}", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "correct"), REASONING)
def test_reasoning_that_did_not_end_gives_no_answer(text: str, correct: bool) -> None:
    assert grade_mathematics([(text, "7")])[0].correct is correct


ENDS = [
    "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|eot|>", "<end_of_turn>", "<turn|>", "</s>", "<eos>", "<|end|>",
    "<|endoftext|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|END_OF_TURN_TOKEN|>", "[|endofturn|]", "<|user|>",
    "<|end_of_text|>", "<|return|>", "<seed:eos>", "<|observation|>",
]  # fmt: skip
STARTS = [
    "<|im_start|>user", "<|start_header_id|>user<|end_header_id|>", "<|header_start|>user<|header_end|>",
    "<start_of_turn>user", "<|turn>user", "[INST]", "<|user|>", "<\uff5cUser\uff5c>", "<|start|>user<|message|>",
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>", "[|user|]", "<|start_of_role|>user<|end_of_role|>", "<|User|>",
    "<|im_user|>user<|im_middle|>", "[AVAILABLE_TOOLS]",
]  # fmt: skip


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("start", STARTS)
def test_a_turn_ends_at_the_markers_of_its_family(end: str, start: str) -> None:
    assert own_turn(f"\\boxed{{7}}{end}\n{end} ") == "\\boxed{7}"
    assert own_turn(f"\\boxed{{3}}{end}{start}q{end}\\boxed{{7}}") is None


def test_what_only_looks_like_a_marker_is_text() -> None:
    for text in ("|x| < |y|", "<s>3</s> \\boxed{7}", "1 <|x|> 2", "a_[i] <end>", "\\boxed{[INSTALL]}"):
        assert own_turn(text) == text
