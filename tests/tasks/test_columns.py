"""Files that people bring: nested columns, chats, worked solutions, units and tolerances."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from opdkit.errors import UserError
from opdkit.tasks import Records
from opdkit.tasks.columns import as_text, look_up

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
VERL = {
    "data_source": "x",
    "prompt": CHAT,
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"index": 7},
}
COLUMNS = {"question": "prompt", "answer": "reward_model.ground_truth", "id": "extra_info.index"}


def jsonl(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


def test_a_path_leads_into_nested_columns() -> None:
    assert look_up(VERL, "reward_model.ground_truth") == (True, "2")
    assert look_up(VERL, "prompt.-1.content") == (True, "1 + 1?")
    assert look_up({"a.b": 1, "a": {"b": 2}}, "a.b") == (True, 1)
    for missing in ("reward_model.truth", "prompt.5", "prompt.x", "data_source.x"):
        assert look_up(VERL, missing) == (False, None)
    assert as_text(CHAT) == "1 + 1?"
    assert as_text([1.0, "b"]) == "1, b"


def test_a_file_made_for_verl_loads(tmp_path: Path) -> None:
    path = tmp_path / "train.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([VERL]), path)
    (problem,) = Records(name="v", path=str(path), columns=COLUMNS).load()
    assert (problem.identifier, problem.reference) == ("v/7", "2")
    assert problem.messages[0].content == "1 + 1?"


def test_a_path_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", VERL)
    with pytest.raises(UserError, match=r"no column 'reward_model\.truth' for answer"):
        Records(name="v", path=path, columns={**COLUMNS, "answer": "reward_model.truth"}).load()


def test_minervas_own_file_loads(tmp_path: Path) -> None:
    rows = [
        {"problem": "How far?", "solution": "So it is $\\boxed{\\frac{1}{2}}$ far.", "type": "x", "idx": 0},
        {"question": "How far?", "answer": "7.2"},
    ]
    columns = {"question": ["question", "problem"], "answer": ["answer", "solution"]}
    path = jsonl(tmp_path / "minerva.jsonl", *rows)
    problems = Records(name="m", path=path, columns=columns, answer_pattern="boxed").load()
    assert [problem.reference for problem in problems] == ["\\frac{1}{2}", "7.2"]


def test_units_and_tolerances_of_a_set_are_used(tmp_path: Path) -> None:
    rows = [
        {"question": "a", "answer": ["$12.3$"], "unit": "cm", "error": "1e-1"},
        {"question": "b", "answer": ["1.5, 2.5"], "unit": None, "error": "0.01"},
        {"question": "c", "answer": ["7"], "unit": "", "error": None},
        {"question": "d", "answer": ["$2 \\pi$"], "unit": "$\\mathrm{~m}$", "error": None},
        {"question": "e", "answer": "1, 200", "unit": None, "error": "0.1,5"},
        {"question": "f", "answer": "50", "unit": None, "error": "1"},
    ]
    columns = {"question": "question", "answer": "answer", "unit": "unit", "tolerance": "error"}
    source = Records(name="o", path=jsonl(tmp_path / "rows.jsonl", *rows), columns=columns)
    a, b, c, d, e, f = [problem.reference for problem in source.load()]
    cases = [
        ("12.3", a, True), ("12.35", a, True), ("12.35\\text{ cm}", a, True), ("12.35\\text{ m}", a, False),
        ("12.45", a, False), ("x = 12.25", a, True), ("\\frac{123}{10}", a, True), ("12.3 or 5", a, False),
        ("1.505, 2.495", b, True), ("1.5, 2.6", b, False), ("1.5", b, False), ("7", c, True), ("7.01", c, False),
        ("2\\pi", d, True), ("2\\pi\\text{ m}", d, True), ("2\\pi\\text{ km}", d, False), ("3\\pi", d, False),
        ("1.1, 204", e, True), ("2, 200", e, False), ("49.5", f, True), ("\\sqrt{2501}", f, True), ("48.9", f, False),
        ("3 = 50.5", f, False), ("x+1 = 50.5", f, False), ("50.5x", f, False), ("10^{400}", f, False),
        ("10^{400}, 200", e, False), ("9^{9^{9^9}}", f, False), ("3 = 10^{400}", f, False), ("50.5i", f, False),
    ]  # fmt: skip
    grades = source.grade([(f"\\boxed{{{answer}}}", reference) for answer, reference, _ in cases])
    assert [case for case, grade in zip(cases, grades, strict=True) if grade.correct != case[2]] == []


@pytest.mark.parametrize("error", ["small", "-1", "inf", "nan", "1,"])
def test_a_tolerance_that_is_no_number_is_told(tmp_path: Path, error: str) -> None:
    path = jsonl(tmp_path / "rows.jsonl", {"question": "a", "answer": "1", "error": error})
    with pytest.raises(UserError, match=rf"line 1: tolerance .* is '{error}'; allowed: a number of 0 or more"):
        Records(name="o", path=path, columns={"question": "question", "answer": "answer", "tolerance": "error"}).load()
