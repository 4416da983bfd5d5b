from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from opdkit.errors import UserError
from opdkit.tasks import Records

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
WORDS = Records(name="words", path=str(FIXTURES / "word_problems.jsonl"), answer_pattern=r"####\s*(.+)")
ROWS = [{"question": "1 + 1?", "answer": 2.0, "id": "a"}, {"question": "Half?", "answer": 0.5, "id": "b"}]


def test_rows_become_problems() -> None:
    problems = WORDS.load()
    assert [problem.reference for problem in problems] == ["24", "3,600", "-3", "7.5"]
    assert problems[0].identifier == "words/1"
    assert problems[0].messages[0].content == "A shelf holds 4 boxes of 6 cups. How many cups is that?"


def test_limit_keeps_the_first_rows() -> None:
    assert len(dataclasses.replace(WORDS, limit=3).load()) == 3


def test_instruction_is_dropped_and_template_filled() -> None:
    source = dataclasses.replace(
        WORDS, drop=r"(?s)\s*How many.*$", template="{question} Box it: \\boxed{}.", system="Be brief."
    )
    messages = source.load()[0].messages
    assert [message.content for message in messages] == [
        "Be brief.",
        "A shelf holds 4 boxes of 6 cups. Box it: \\boxed{}.",
    ]


def write(path: Path, rows: list[dict[str, object]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        path.write_text("\ufeff" + "\n".join(lines) + "\n")
    else:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_problems(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    write(path, ROWS)
    source = Records(name="n", path=str(path), columns={"question": "question", "answer": "answer", "id": "id"})
    assert [(problem.identifier, problem.messages[0].content) for problem in source.load()] == [
        ("n/a", "1 + 1?"),
        ("n/b", "Half?"),
    ]
    assert [grade.correct for grade in source.grade([("\\boxed{2}", source.load()[0].reference)])] == [True]


def test_whole_floats_are_written_as_whole_numbers(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", ROWS)
    assert [p.reference for p in Records(name="n", path=str(tmp_path / "rows.jsonl")).load()] == ["2", "0.5"]


def test_a_list_is_joined_and_a_column_of_null_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"question": "Roots?", "answer": ["1", 2.0], "id": 5}])
    columns = {"question": "question", "answer": "answer", "id": None}
    (problem,) = Records(name="n", path=str(tmp_path / "rows.jsonl"), columns=columns).load()
    assert (problem.identifier, problem.reference) == ("n/1", "1, 2")


def test_the_first_column_that_is_there_is_taken(tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [{"problem": "P?", "answer": 1}, {"question": "Q?", "answer": 2}])
    columns = {"question": ["problem", "question"], "answer": "answer"}
    problems = Records(name="n", path=str(tmp_path / "rows.jsonl"), columns=columns).load()
    assert [problem.messages[0].content for problem in problems] == ["P?", "Q?"]


def test_a_data_set_of_the_hub_is_read_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def load_dataset(name: str, subset: str | None, split: str) -> list[Mapping[str, object]]:
        asked.append((name, subset, split))
        return ROWS

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    problems = Records(name="n", path="owner/name", subset="main", split="train").load()
    assert len(problems) == 2
    assert asked == [("owner/name", "main", "train")]


@pytest.mark.parametrize(
    "error", [ConnectionError("no route\nto host"), ValueError("Unknown split \"tset\". Should be one of ['test'].")]
)
def test_a_hub_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    with pytest.raises(UserError, match=r"path=owner/name \(tset\): cannot be loaded") as caught:
        Records(name="n", path="owner/name", split="tset").load()
    assert "\n" not in str(caught.value)


GOOD = '{"question": "Q?", "answer": "1"}\n'
BAD_FILES = [
    ("missing.jsonl", None, {}, "no such file"),
    ("folder.jsonl", "folder", {}, "is a folder"),
    ("rows.txt", GOOD, {}, "allowed: .jsonl, .json, .csv, .parquet"),
    ("empty.jsonl", "", {}, "holds no rows"),
    ("blank.jsonl", "\n\n", {}, "holds no rows"),
    ("rows.jsonl", GOOD + "{not json\n", {}, "rows.jsonl, line 2: is not JSON"),
    ("rows.jsonl", GOOD + "[1]\n", {}, "line 2: is list, not an object"),
    ("rows.jsonl", b"\xff\xfe\x00\n", {}, "line 1: is not UTF-8"),
    ("rows.jsonl", GOOD + '{"question": "Q?"}\n', {}, "line 2: no column 'answer'"),
    ("rows.jsonl", GOOD + "\n" + '{"answer": "1"}\n', {}, "line 3: no column 'question' for question; it has answer"),
    (
        "rows.jsonl",
        GOOD + '{"question": "Q?", "answer": null}\n',
        {},
        "line 2: column 'answer' is null, so there is no answer",
    ),
    ("rows.jsonl", GOOD + '{"question": "Q?", "answer": " "}\n', {}, "line 2: answer .* is empty"),
    ("rows.jsonl", '{"question": "", "answer": "1"}\n', {}, "line 1: question .* is empty"),
    ("rows.jsonl", GOOD, {"answer_pattern": "#### (.+)"}, "line 1: no answer"),
    ("rows.jsonl", GOOD, {"answer_pattern": "####.+"}, "a pattern with one group"),
    ("rows.jsonl", GOOD, {"answer_pattern": "(("}, "not a regular expression"),
    ("rows.jsonl", GOOD, {"drop": "["}, "drop=.* is not a regular expression"),
    ("rows.jsonl", GOOD, {"template": "Solve."}, "no field"),
    ("rows.jsonl", GOOD, {"template": "{questoin}"}, r"did you mean \{question\}"),
    ("rows.jsonl", GOOD, {"template": "{question} is {answer}"}, r"asks for \{answer\}"),
    ("rows.jsonl", GOOD, {"columns": {"question": "q", "answer": "answer"}}, "no column 'q' for question"),
    ("rows.jsonl", GOOD, {"columns": {"question": "question"}}, "columns.answer names no column"),
    ("rows.jsonl", GOOD, {"limit": 0}, "limit=0"),
    (
        "rows.jsonl",
        GOOD * 2,
        {"columns": {"question": "question", "answer": "answer", "id": "answer"}},
        "line 2: id 'n/1' stands already at .*line 1",
    ),
    ("rows.json", '[{"question": "Q?"', {}, "line 1: is not JSON"),
    ("rows.json", "5", {}, "holds no list"),
    ("rows.json", '[{"question": "Q?"}]', {}, "row 1: no column 'answer'"),
    ("rows.csv", "question,answer\nQ?,1,2\n", {}, "line 2: has more values"),
    ("rows.csv", "question,answer\nQ?\n", {}, "line 2: no column 'answer'"),
    ("rows.csv", 'question,answer\n"Q?,1\n', {}, "is not CSV"),
    ("rows.csv", b"question,answer\n\xff,1\n", {}, "is not UTF-8"),
    ("rows.parquet", "not parquet", {}, "not a readable parquet file"),
]


@pytest.mark.parametrize(("name", "content", "settings", "message"), BAD_FILES)
def test_a_bad_file_is_one_line_with_its_place(
    tmp_path: Path, name: str, content: str | bytes | None, settings: dict[str, object], message: str
) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        Records(name="n", path=str(path), **settings).load()  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)
