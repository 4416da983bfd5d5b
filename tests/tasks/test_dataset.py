"""Data sets in the shapes that are in use: what is taken for what, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from opdkit.data.problem import Message
from opdkit.errors import UserError
from opdkit.tasks import Dataset

TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "1 + 1?"},
    {"role": "assistant", "content": "2"},
    {"role": "user", "content": "2 + 2?"},
]
SHAREGPT = [{"from": "human", "value": "1 + 1?"}, {"from": "gpt", "value": "It is 2. \\boxed{2}"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "1 + "}, {"type": "text", "text": "1?"}]}]
ASKED = (Message("user", "1 + 1?"),)
KEPT = tuple(Message(turn["role"], turn["content"]) for turn in TURNS)
VERL = {
    "data_source": "sums", "prompt": [{"role": "user", "content": "1 + 1?"}],
    "reward_model": {"style": "rule", "ground_truth": "2"}, "extra_info": {"index": 7},
}  # fmt: skip


def jsonl(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("row", "messages", "reference", "context", "identifier"),
    [
        ({"question": "1 + 1?", "answer": 2}, ASKED, "2", {}, "1"),
        ({"question": "1 + 1?", "answer": "1 + 1 is 2.\n#### 2"}, ASKED, "2", {"solution": "1 + 1 is 2.\n#### 2"}, "1"),
        ({"problem": "1 + 1?", "solution": "\\boxed{2}", "id": "a"}, ASKED, "2", {"solution": "\\boxed{2}"}, "a"),
        ({"problem": "1 + 1?", "solution": "Two.", "answer": "2"}, ASKED, "2", {"solution": "Two."}, "1"),
        ({"prompt": "1 + 1?", "ground_truth": "2"}, ASKED, "2", {}, "1"),
        ({"instruction": "1 + 1?", "system": "Short."}, (Message("system", "Short."), *ASKED), "", {}, "1"),
        ({"messages": TURNS, "answer": "4"}, KEPT, "4", {}, "1"),
        ({"messages": [*TURNS, {"role": "assistant", "content": "4"}]}, KEPT, "4", {}, "1"),
        ({"conversations": SHAREGPT}, ASKED, "2", {"solution": "It is 2. \\boxed{2}"}, "1"),
        ({"prompt": PARTS, "label": "2"}, ASKED, "2", {}, "1"),
        (VERL, ASKED, "2", {}, "7"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_columns_are_guessed(
    row: dict[str, Any],
    messages: tuple[Message, ...],
    reference: str,
    context: dict[str, str],
    identifier: str,
    tmp_path: Path,
) -> None:
    source = Dataset(path=jsonl(tmp_path / "set.jsonl", [row]))
    (problem,) = source.load()
    assert problem.messages == messages
    assert (problem.reference, problem.context) == (reference, context)
    assert problem.identifier == f"dataset/{identifier}"


def test_csv_json_and_parquet_say_the_same(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    rows = [{"messages": TURNS, "answer": "4"}, {"messages": TURNS[:2], "answer": "2"}]
    with (tmp_path / "set.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["messages", "answer"])
        writer.writeheader()
        writer.writerows([row | {"messages": json.dumps(row["messages"])} for row in rows])
    (tmp_path / "set.json").write_text(json.dumps(rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "set.parquet")
    found = [Dataset(path=str(tmp_path / f"set.{kind}")).load() for kind in ("csv", "json", "parquet")]
    assert found[0] == found[1] == found[2]
    assert found[0][0].messages == KEPT


def test_what_was_taken_is_told(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"problem": "x", "solution": "\\boxed{1}"}, {"problem": "y", "solution": None}])
    assert Dataset(path=path).told() == [
        f"{path}: 2 problems; question from 'problem', answer from 'solution'; answer_pattern=boxed; "
        "1 without an answer, whose reward is unknown"
    ]
    path = jsonl(tmp_path / "b.jsonl", [{"messages": [*TURNS, {"role": "assistant", "content": "4"}]}])
    assert Dataset(path=path).told() == [
        f"{path}: 1 problems; question from 'messages'; answer from the last assistant's turn; "
        "1 with a system or earlier turns, kept"
    ]


def test_system_template_and_columns_are_the_users(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", [{"text": "1 + 1?", "messages": TURNS, "hint": "count", "gold": 2}])
    (problem,) = Dataset(
        path=path, system="Think.", template="{question} ({hint}) \\boxed{}", answer_pattern=None
    ).load()  # fmt: skip
    assert problem.messages == (
        Message("system", "Think."), *KEPT[1:3], Message("user", "2 + 2? (count) \\boxed{}")
    )  # fmt: skip
    (problem,) = Dataset(path=path, columns={"question": "text", "answer": None}).load()
    assert (problem.messages, problem.reference) == (ASKED, "")


def test_an_answer_that_is_not_there_is_no_wrong_answer(tmp_path: Path) -> None:
    source = Dataset(path=jsonl(tmp_path / "a.jsonl", [{"question": "?"}]))
    grades = source.grade([("\\boxed{2}", "2"), ("\\boxed{2}", ""), ("\\boxed{3}", "2")])
    assert [(grade.correct, grade.counts) for grade in grades] == [(True, True), (None, False), (False, True)]
    with pytest.raises(UserError, match="1 of 1 rows have no answer to grade by"):
        Dataset(path=source.path, require_answers=True).load()


def test_sets_are_mixed_by_weight(tmp_path: Path) -> None:
    short = jsonl(tmp_path / "a.jsonl", [{"question": f"a{i}", "answer": i} for i in range(2)])
    long = jsonl(tmp_path / "b.jsonl", [{"problem": f"b{i}", "solution": i} for i in range(9)])
    assert len(Dataset(path=[short, long]).load()) == 11
    mixed = Dataset(path=[short, long], weights=[1, 3]).load()
    asked = [problem.messages[0].content for problem in mixed]
    assert sum(text.startswith("a") for text in asked) * 3 == sum(text.startswith("b") for text in asked) == 9
    assert set(asked) == {"a0", "a1", *(f"b{i}" for i in range(9))}
    assert len({problem.identifier for problem in mixed}) == len(mixed)
    assert mixed[2].identifier == "dataset/1/1~2"


@pytest.mark.parametrize(
    ("rows", "keys", "told"),
    [
        ([{"x": 1}], {}, r"no column looks like a question .* there are x \(set task.columns.question"),
        ([{"question": ""}], {}, "no column looks like a question"),
        ([{"question": "?"}, {"question": None}], {}, "line 2: column 'question' has no question"),
        (
            [{"question": "?"}],
            {"columns": {"answer": "gold"}},
            "columns.answer=gold: no row has it; there are question",
        ),
        ([{"question": "?"}], {"columns": {"gold": "answer"}}, "columns.gold: no such field; allowed: question"),
        ([{"messages": [{"role": "tool", "content": "x"}]}], {}, "line 1: a turn of the chat has the role 'tool'"),
        ([{"messages": [{"role": "user", "content": 3}]}], {}, "line 1: a turn of the chat has no text"),
        ([{"messages": ["x"]}], {}, "line 1: a turn of the chat is str, not an object"),
        ([{"messages": [{"role": "system", "content": "x"}]}], {}, "line 1: column 'messages' has no question"),
        ([{"question": "?", "answer": "x"}], {"answer_pattern": "#(.)"}, "line 1: no answer: answer_pattern"),
        ([{"question": "?"}], {"template": "{question} {hint}"}, "line 1: template asks for {hint}"),
        ([{"question": "?"}], {"template": "x"}, "template='x' has no field"),
        ([{"question": "?"}], {"answer_pattern": "x"}, "a pattern with one group"),
        ([{"question": "?"}], {"weights": [1, 2]}, "one for each of the 1 paths"),
        ([{"question": "?"}], {"weights": [0]}, "numbers above 0"),
        ([{"question": "?"}], {"limit": 0}, "limit=0"),
        ([], {}, "holds no rows"),
    ],
)
def test_what_cannot_be_read_is_told(
    rows: list[dict[str, Any]], keys: dict[str, Any], told: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=told):
        Dataset(path=jsonl(tmp_path / "set.jsonl", rows), **keys).load()
