"""Rows of the public sets' forms become problems, and the programs that answer them are judged."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from opdkit.errors import UserError
from opdkit.evaluation import Benchmark
from opdkit.grading import programs
from opdkit.grading.program_pool import ProgramPool
from opdkit.grading.programs import ProgramGrader
from opdkit.samplers import Greedy
from opdkit.tasks import Code
from tests.cli.conftest import Opdkit, opdkit  # noqa: F401
from tests.program_cases import CASES, DOUBLE, HUMANEVAL, LIVE, LIVE_CALL, MBPP, VERL, Case, fenced
from tests.tiny import save_pair

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs run only on Linux")


def needs_bubblewrap() -> None:
    try:
        ProgramGrader().check()
    except UserError as error:
        pytest.skip(str(error))


def source(folder: Path, *rows: dict[str, Any], **fields: Any) -> Code:
    file = folder / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Code(str(file), seconds=2, **fields)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_right_programs_pass_and_near_misses_do_not(case: Case, tmp_path: Path) -> None:
    needs_bubblewrap()
    code = source(tmp_path, case.row)
    (problem,) = code.load()
    right, wrong = code.grade([(fenced(program), problem.reference) for program in (case.right, case.wrong)])
    assert (right.correct, right.status) == (True, "ok"), right
    assert (wrong.correct, wrong.status) == (False, case.status), wrong


def asked(code: Code) -> tuple[str, str, str]:
    ((problem, _),) = code._read[1]
    return problem.identifier, problem.messages[-1].content, problem.context["solution"]


def test_what_is_asked(tmp_path: Path) -> None:
    identifier, text, solution = asked(source(tmp_path, HUMANEVAL.row))
    assert identifier == "code/Ours/0"
    assert text.startswith("Complete this function.\n\n```python\nfrom typing import List\n")
    assert text.endswith("Put the whole program in one block, fenced by ```python and ```.")
    assert solution.endswith('"""The widest gap."""\n    return max(values) - min(values)\n```')
    assert "class Solution:" in asked(source(tmp_path, LIVE_CALL.row))[1]
    assert "assert parted([], 2) == ((), [])" in asked(source(tmp_path, MBPP.row))[1]
    assert "standard input" in asked(source(tmp_path, DOUBLE.row))[1]
    assert asked(source(tmp_path, VERL.row))[1].startswith("Add two numbers.\n\n")


def test_a_pickle_is_never_read(tmp_path: Path) -> None:
    (told,) = source(tmp_path, LIVE.row).told()
    assert "1 problems, 2 tests; question from 'question_content', tests from 'public_test_cases'" in told
    assert told.endswith("the private tests of 1 rows are pickled, and never read: public tests alone count")
    assert "3 tests" in source(tmp_path, LIVE_CALL.row).told()[0]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q"}, "no column looks like tests .*MBPP's.*; there are question"),
        ({"inputs": ["1"], "outputs": ["1"]}, "no column looks like a question"),
        ({"question": "q", "inputs": ["1"], "outputs": []}, "line 1: column 'inputs' has .*: 1 inputs and 0 outputs"),
        ({"question": "q", "inputs": ["1"]}, "a list is needed, not NoneType"),
        ({"question": "q", "test_list": ["assert f("]}, "column 'test_list' has an assertion that is no Python"),
        ({"question": "q", "tests": "some"}, "column 'tests' has no tests in a known form"),
        ({"question": " ", "test_list": ["assert f(1) == 2"]}, "column 'question' has no question"),
        (
            {"question": "q", "public_test_cases": [{"input": "1", "output": "1", "testtype": "functional"}]},
            "the row names no function",
        ),
        ({"question": "q", "fn_name": "f", "inputs": ["x y"], "outputs": ["1"]}, "can't be read"),
    ],
)
def test_bad_rows_are_told(row: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        source(tmp_path, row).told()


def test_bad_choices_are_told(tmp_path: Path) -> None:
    for fields, said in (
        ({"columns": {"answer": "x"}}, r"columns\.answer: no such field"),
        ({"columns": {"tests": "x"}}, r"columns\.tests=x: no row has it"),
        ({"template": "{question}"}, "must hold {question} and {form}"),
        ({"limit": 0}, "limit=0; allowed: 1 or more"),
        ({"memory_mb": 1}, "memory_mb=1; allowed: 64 to 65536"),
        ({"sandbox": "docker"}, "sandbox='docker'; allowed: bwrap, process"),
    ):
        with pytest.raises(UserError, match=said):
            source(tmp_path, DOUBLE.row, **fields).told()


def test_without_bubblewrap_it_is_refused_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with ProgramPool(1) as pool:
        monkeypatch.setattr(programs, "_ask", pool.ask)
        with pytest.raises(UserError, match=r"sandbox=bwrap: bwrap is not installed \(apt-get install -y bubblewrap; "):
            source(tmp_path, DOUBLE.row).load()
        with pytest.raises(UserError, match=r"^benchmark\.source\.sandbox=bwrap: bwrap is not installed"):
            Benchmark(source(tmp_path, DOUBLE.row), Greedy(), path=str(tmp_path / "rows.jsonl")).problems()


def files(folder: Path) -> None:
    rows = [case.row for case in CASES if "inputs" in case.row]
    (folder / "programs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "live.jsonl").write_text(json.dumps(LIVE.row) + "\n" + json.dumps(LIVE_CALL.row) + "\n")


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_trains_on_programs(tmp_path: Path, opdkit: Opdkit, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    needs_bubblewrap()
    files(tmp_path)
    # The pair can't write programs: what it writes stands behind a block that is right for one of the problems.
    found = programs.find_program
    monkeypatch.setattr(programs, "find_program", lambda text, function: found(fenced(DOUBLE.right) + text, function))
    choices = ["task=code", "task.path=programs.jsonl", "benchmark=livecodebench", "benchmark.path=live.jsonl"]
    few = [
        "debug=smoke",
        "steps=2",
        "benchmark.max_new_tokens=8",
        "rollout.max_prompt_tokens=512",
        "batch.prompts=3",
        "batch.mini_batch=3",
        "log_samples=3",
        "logger=jsonl",
    ]
    told = opdkit("train", *choices, *few, *save_pair(tmp_path / "pair"), "batch.micro_batch=3", "run_dir=run")
    assert told.status == 0, told
    assert "3 problems, 7 tests; question from 'question', tests from 'inputs'" in told.out
    steps = [row for row in lines(tmp_path / "run/metrics.jsonl") if "train/loss" in row]
    assert [row["reward/no_program"] for row in steps] == [0.0, 0.0]
    assert [row["rollout/reward_mean"] for row in steps] == pytest.approx([1 / 3, 1 / 3])
    assert [row["reward/wrong_output"] + row["reward/runtime_error"] for row in steps] == pytest.approx([2 / 3, 2 / 3])
    assert any(row.get("status") in ("runtime_error", "wrong_output") for row in lines(tmp_path / "run/samples.jsonl"))
    summary = json.loads((tmp_path / "run/evals/livecodebench.json").read_text())
    assert (summary["n_problems"], summary["n_not_graded"]) == (2, 0)


def test_the_benchmark_tells_why(tmp_path: Path, opdkit: Opdkit) -> None:  # noqa: F811
    needs_bubblewrap()
    files(tmp_path)
    sampled = [
        "benchmark.n_samples=2",
        "sampler@benchmark.sampler=ancestral",
        "benchmark.max_new_tokens=8",
        "show=first",
    ]
    model = save_pair(tmp_path / "pair")[:2]
    told = opdkit("eval", "benchmark=code", "benchmark.path=programs.jsonl", *sampled, *model, "run_dir=run")
    assert told.status == 0, told
    assert "wrong (no_answer)" in told.out
    summary = json.loads((tmp_path / "run/evals/code.json").read_text())
    assert (summary["pass@2"], summary["n_no_answer"], summary["parts"]["no_program"]) == (0.0, 6, 1.0)
