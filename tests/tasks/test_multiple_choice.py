from __future__ import annotations

import json

import pytest

from opdkit.errors import UserError
from opdkit.tasks.multiple_choice import MultipleChoice

ROW = {"Q": "Which is even?", "good": "4", "bad1": "3", "bad2": "5"}


def source(path, rows, **changed):
    file = path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    told = {"question": "Q", "right": "good", "wrong": ("bad1", "bad2"), "template": "{question}\n{options}"}
    return MultipleChoice(name="odd", path=str(file), **{**told, **changed})


def test_the_reference_is_the_letter_of_the_right_option(tmp_path):
    problems = source(tmp_path, [ROW] * 30).load()
    assert len({problem.identifier for problem in problems}) == 30
    for problem in problems:
        lines = problem.messages[-1].content.splitlines()
        assert lines[0] == "Which is even?"
        assert sorted(line[4:] for line in lines[1:]) == ["3", "4", "5"]
        assert f"({problem.reference}) 4" in lines
    assert {problem.reference for problem in problems} == {"A", "B", "C"}


def test_the_order_is_that_of_the_seed(tmp_path):
    texts = [[one.messages[0].content for one in source(tmp_path, [ROW] * 9, seed=seed).load()] for seed in (0, 0, 1)]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_letters_are_graded(tmp_path):
    answers = ["\\boxed{B}", "The answer is (B).", "Answer: B", "\\boxed{\\text{B}}", "\\boxed{A}", "B or C", "4"]
    grades = source(tmp_path, [ROW]).grade([(answer, "B") for answer in answers])
    assert [grade.correct for grade in grades] == [True, True, True, True, False, False, False]


@pytest.mark.parametrize(
    ("row", "changed", "told"),
    [
        ({"Q": "?", "good": "4", "bad1": "3"}, {}, "line 1: has no 'bad2'; its columns: Q, good, bad1"),
        ({**ROW, "good": " "}, {}, "line 1: has no 'good'"),
        ({**ROW, "good": "3"}, {}, "'good' stands among the wrong options"),
        (ROW, {"template": "{question}"}, "must hold {question} and {options}"),
        (ROW, {"wrong": ()}, "must name 1 to 25 columns"),
        (ROW, {"limit": 0}, "limit=0"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path, row, changed, told):
    with pytest.raises(UserError, match=r"^[^\n]*$") as error:
        source(tmp_path, [row], **changed).load()
    assert told in str(error.value)
