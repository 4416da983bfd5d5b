"""`opdkit show`: rows in colours, and `opdkit chat`: answers to lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from opdkit.console.samples import rollout_text, style
from tests.cli.conftest import Opdkit
from tests.tiny import save_pair

BOUNDS = (0.1, 0.5, 2.0, 5.0)
ROW: dict[str, Any] = {
    "step": 1, "problem": "p/1", "prompt": "1 + 1?", "response": "2 \x1b[31m", "reference": "2", "extracted": "2",
    "reward": 1.0, "stop_reason": "stop", "tokens": 3, "token_texts": ["2", " ", "\x1b[31m"],
    "log_ratio": [-6.0, None, 0.2], "counted": [True, False, True],
}  # fmt: skip


def test_colours_are_those_of_the_log_ratio() -> None:
    assert [style(value, BOUNDS) for value in (0.05, None, -0.05)] == ["", "", ""]
    assert len({style(value, BOUNDS) for value in (-6, -3, -1, -0.2, 0.2, 1, 3, 6)}) == 8
    shown = rollout_text(ROW, BOUNDS)
    assert "\x1b" not in shown.plain
    assert shown.plain.startswith("step 1, p/1, reward 1, read as 2, the answer is 2, 3 tokens\n1 + 1?\n2 ")
    assert [str(span.style) for span in shown.spans][2:] == [style(-6.0, BOUNDS), style(0.2, BOUNDS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [ROW, ROW | {"step": 2, "problem": "p/2", "reward": 0.0}, ROW | {"step": 2, "problem": "p/3"}]
    (tmp_path / "run" / "evals").mkdir(parents=True)
    (tmp_path / "run" / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answer = {"problem": "p/4", "text": "3", "reference": "4", "extracted": "3", "correct": False}
    (tmp_path / "run" / "evals" / "sums.responses.jsonl").write_text(json.dumps(answer) + "\n")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("typed", "problems"),
    [
        (["run"], ["p/2", "p/3", "p/1"]),
        (["run", "--step", "1"], ["p/1"]),
        (["run", "--right"], ["p/3", "p/1"]),
        (["run", "--wrong"], ["p/2"]),
        (["run/evals/sums.responses.jsonl"], ["p/4"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_rows_are_shown_the_last_step_first(typed: list[str], problems: list[str], opdkit: Opdkit) -> None:
    told = opdkit("show", *typed)
    assert told.status == 0, told.err
    found = [word.strip(",:") for line in told.out.splitlines() for word in line.split() if word.startswith("p/")]
    assert found == problems


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["gone"], "gone: holds no samples.jsonl"),
        (["run", "--step", "9"], "run: no such rollout or response"),
        (["run", "--right", "--wrong"], "usage: opdkit show RUN"),
    ],
)
def test_what_is_wrong_is_one_line(typed: list[str], line: str, opdkit: Opdkit) -> None:
    told = opdkit("show", *typed)
    assert told.status == 2
    assert line in told.err


def test_a_chat_answers_each_line(opdkit: Opdkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = [text for text in save_pair(tmp_path) if text.startswith("model")]
    monkeypatch.setattr("sys.stdin", io.StringIO("hello\nagain\n\nhello\n"))
    told = opdkit("chat", *typed, "sampler=greedy", "rollout.max_new_tokens=4")
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    place = lines.index("(a new chat)")
    first = "\n".join(lines[:place])
    again = "\n".join(lines[place + 1 :])
    assert first.count("(cut: rollout.max_new_tokens)") == 2
    assert first.startswith(again)  # greedy: the same question in a new chat has the same answer
