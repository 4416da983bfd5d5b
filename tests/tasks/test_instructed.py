"""IFEval: rows become problems, and each instruction is checked by the library's own checker."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from opdkit.errors import UserError
from opdkit.tasks import Instructed
from tests.cli.conftest import Opdkit, opdkit  # noqa: F401

pytestmark = pytest.mark.skipif(importlib.util.find_spec("if_verifiable") is None, reason="needs opdkit[ifeval]")
ROWS: list[dict[str, Any]] = [
    {
        "key": 7,
        "prompt": "Name two colours without commas, in lowercase, with the word red.",
        "instruction_id_list": ["punctuation:no_comma", "change_case:english_lowercase", "keywords:existence"],
        "kwargs": [{"num_words": None}, {}, {"keywords": ["red"], "relation": None}],
    },
    {
        "key": 8,
        "prompt": "Answer in German, in fewer than ten words.",
        "instruction_id_list": ["language:response_language", "length_constraints:number_words"],
        "kwargs": [{"language": "de"}, {"num_words": 10, "relation": "less than"}],
    },
]


def source(folder: Path, *rows: Mapping[str, Any], **fields: Any) -> Instructed:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Instructed("ifeval", str(file), **fields)


def test_every_instruction_counts(tmp_path: Path) -> None:
    strict = source(tmp_path, *ROWS)
    colours, german = strict.load()
    assert colours.identifier == "ifeval/7"
    assert [message.role for message in colours.messages] == ["user"]
    answers = [
        ("red and the other one is blue like the sky", colours, 3, "ok"),
        ("<think>Red, I say.</think> a red house and a blue house", colours, 3, "ok"),
        ("Red, blue", colours, 1, "ok"),  # the word is looked for in any case
        ("", colours, 0, "ok"),
        ("\ud800", colours, None, "not_text"),
        ("x" * 500_001, colours, None, "too_long"),
        ("Das ist ein rotes Haus am Ende der Straße.", german, 2, "ok"),
        ("This is a red house at the end of the street, with a garden and a tree.", german, 0, "ok"),
    ]
    grades = strict.grade([(text, problem.reference) for text, problem, *_ in answers])
    for (_, problem, followed, status), grade in zip(answers, grades, strict=True):
        asked = len(json.loads(problem.reference))
        assert grade.status == status
        assert grade.correct == (followed == asked)
        assert grade.reward == (followed or 0) / asked
        assert grade.extracted == (None if followed is None else f"{followed} of {asked} followed")


def test_loose_forgives_a_first_line(tmp_path: Path) -> None:
    text = "Sure, here it is:\nred and the other one is blue like the sky"
    for strictness, correct in (("strict", False), ("loose", True)):
        asked = source(tmp_path, ROWS[0], strictness=strictness)
        (grade,) = asked.grade([(text, asked.load()[0].reference)])
        assert grade.correct is correct


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": " "}, "line 1: has no prompt"),
        ({"kwargs": [{}]}, "lists of one length"),
        ({"instruction_id_list": ["a:b", "a:b", "a:b"]}, "no instruction 'a:b'; allowed: change_case"),
        ({"kwargs": [1, {}, {}]}, "the kwargs of punctuation:no_comma must be an object"),
    ],
)
def test_bad_rows_are_told(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        source(tmp_path, {**ROWS[0], **changed}).load()


def test_data_that_a_checker_needs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    row = {**ROWS[1], "instruction_id_list": ["length_constraints:number_sentences"], "kwargs": [{"num_sentences": 2}]}
    with pytest.raises(UserError, match=r"number_sentences needs nltk's data .*: python -m nltk\.downloader punkt_tab"):
        source(tmp_path, row).load()


def test_the_benchmark_reads_a_file(tmp_path: Path, opdkit: Opdkit) -> None:  # noqa: F811
    source(tmp_path, *ROWS)
    asked = ["benchmark=ifeval", "benchmark.path=rows.jsonl", "benchmark.max_new_tokens=8", "run_dir=run"]
    told = opdkit("eval", *asked)
    assert told.status == 0, told
    found = json.loads((tmp_path / "run/evals/ifeval.json").read_text())
    assert (found["n_problems"], found["n_not_graded"], found["n_no_answer"]) == (2, 0, 0)
    rows = [json.loads(line) for line in (tmp_path / "run/evals/ifeval.responses.jsonl").read_text().splitlines()]
    assert [row["problem"] for row in rows] == ["ifeval/7", "ifeval/8"]
    assert all(row["extracted"].endswith("followed") for row in rows)
