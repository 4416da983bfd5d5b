"""`opdkit ls data` and a run on a set of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit
from tests.invariants.conftest import QUICK
from tests.tiny import save_pair


@pytest.fixture
def sums(tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": f"{i} + 1?"}], "reward_model": {"ground_truth": str(i + 1)}}
            for i in range(9)]  # fmt: skip
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.usefixtures("sums")
def test_three_prompts_are_shown_with_their_tokens(opdkit: Opdkit) -> None:
    told = opdkit("ls", "data", "task.path=sums.jsonl", "task.system=Be brief.")
    assert told.status == 0, told.err
    lines = told.out.splitlines()
    assert lines[0] == "sums.jsonl: 9 problems; question from 'prompt', answer from 'reward_model.ground_truth'"
    assert lines[2] == "1. dataset/1, 44 tokens, answer '1'"
    assert lines[3:8] == [
        "   | <|im_start|>system", "   | Be brief.<|im_end|>", "   | <|im_start|>user", "   | 0 + 1?<|im_end|>",
        "   | <|im_start|>assistant",
    ]  # fmt: skip
    assert told.out.count("tokens, answer") == 3
    assert lines[-1] == (
        "tokens of all prompts (embedded/student): 44 to 44, median 44; 0 longer than rollout.max_prompt_tokens=128"
    )


@pytest.mark.usefixtures("sums")
@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["task.path=gone.jsonl"], "task.path=gone.jsonl: no such file"),
        (["task.path=sums.jsonl", "task.columns.answer=gold"], "columns.answer=gold: no row has it"),
        ([], "task.path: no value; give task.path=..."),
        (["task=textworld_express"], "shows single tasks with problems"),
    ],
)
def test_what_is_wrong_is_one_line(opdkit: Opdkit, typed: list[str], line: str) -> None:
    told = opdkit("ls", "data", *typed)
    assert told.status == 2
    assert line in told.err
    assert told.err.count("\n") == 1


@pytest.mark.usefixtures("sums")
def test_a_run_on_ones_own_data_without_answers(opdkit: Opdkit, tmp_path: Path) -> None:
    typed = ["task=dataset", "task.path=sums.jsonl", "task.columns.answer=null", "run_dir=run"]
    typed += ["benchmark=dataset", "benchmark.path=sums.jsonl", *save_pair(tmp_path), *QUICK]
    told = opdkit("train", *typed)
    assert told.status == 0, told.err
    assert "9 without an answer, whose reward is unknown" in told.out
    assert "answer from 'reward_model.ground_truth'" in told.out
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["after"]["n_problems"] == 4
