"""Worked examples ahead of questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.errors import UserError
from opdkit.tasks import Records

COLUMNS = {"question": "question", "answer": "answer", "solution": "worked"}


def rows(path: Path, *pairs: tuple[str, str, str]) -> str:
    fields = ("question", "answer", "worked")
    lines = [json.dumps({k: v for k, v in zip(fields, pair, strict=True) if v}) for pair in pairs]
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return str(path)


@pytest.fixture
def asked(tmp_path: Path) -> str:
    return rows(tmp_path / "test.jsonl", ("9+9?", "18", ""), ("8+8?", "16", ""))


@pytest.fixture
def shown(tmp_path: Path) -> str:
    return rows(tmp_path / "train.jsonl", ("1+1?", "2", "One and one are 2."), ("2+2?", "4", ""), ("3+3?", "6", ""))


def test_examples_are_earlier_turns_behind_the_system(asked: str, shown: str) -> None:
    source = Records("s", asked, columns=COLUMNS, system="Add.", template="Q: {question}", shots=2, shots_from=shown)
    first, second = source.load()
    assert [(turn.role, turn.content) for turn in first.messages] == [
        ("system", "Add."),
        ("user", "Q: 1+1?"),
        ("assistant", "One and one are 2."),
        ("user", "Q: 2+2?"),
        ("assistant", r"\boxed{4}"),
        ("user", "Q: 9+9?"),
    ]
    assert second.messages[:-1] == first.messages[:-1]
    assert (first.identifier, first.reference) == ("s/1", "18")


def test_what_is_refused(asked: str, shown: str) -> None:
    for shots, shots_from, said in (
        (2, None, "shots=2; allowed: 0, or more with shots_from"),
        (-1, shown, "shots=-1; allowed"),
        (9, shown, "holds 3 rows"),
        (1, asked, "is an example and is asked as well"),
        (1, "train", "has no splits; name a file"),
        (1, "missing.jsonl", "shots_from=missing.jsonl"),
    ):
        with pytest.raises(UserError, match=said):
            Records("s", asked, columns=COLUMNS, shots=shots, shots_from=shots_from).load()
