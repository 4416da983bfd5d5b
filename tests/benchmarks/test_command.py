"""The command line: choices, mistakes, and the files it writes."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import command
from benchmarks.cases import QUICK
from benchmarks.command import choose
from opdkit.errors import UserError

ANSWER = {"seconds": [1.0], "cpu_seconds": [2.0], "losses": [0.5], "extra_mib": 4.0, "gradient_mib": 1.0, "exact": True}


@pytest.fixture
def fake(monkeypatch):
    """No process is started: every contestant answers alike."""
    jobs = []

    def run_case(case, plan, tell):
        jobs.append((case.name, plan))
        return {entry.name: {"repeats": [ANSWER] * plan.repeats} for entry in case.entries}

    monkeypatch.setattr(command, "run_case", run_case)
    monkeypatch.setattr(command, "missing", lambda cases: [])
    return jobs


def test_quick_is_one_repeat_of_its_cases(fake, capsys):
    assert command.main(["--quick"]) == 0
    assert [name for name, _ in fake] == [case.name for case in QUICK]
    assert fake[0][1].repeats == fake[0][1].steps == 1
    assert "times faster" in capsys.readouterr().out


def test_output_holds_what_was_measured_and_not_where(fake, tmp_path):
    assert command.main(["--output", str(tmp_path / "results"), "--repeats", "2"]) == 0
    assert {"performance.md", "performance.json"} <= {path.name for path in (tmp_path / "results").iterdir()}
    whole = json.loads((tmp_path / "results" / "performance.json").read_text())
    assert list(whole["cases"]) == [case.name for case in choose(quick=False, only=None)]
    assert whole["command"] == "python -m benchmarks --repeats 2"


def test_an_interruption_keeps_the_cases_before_it(fake, tmp_path, monkeypatch):
    measured = command.run_case

    def interrupted(case, plan, tell):
        if case.name == "head_896":
            raise KeyboardInterrupt
        return measured(case, plan, tell)

    monkeypatch.setattr(command, "run_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        command.main(["--output", str(tmp_path)])
    assert list(json.loads((tmp_path / "performance.json").read_text())["cases"]) == ["head_64"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--only", "head_46"],
            "--only head_46: no such case; allowed: growth, head_64, head_896, roofline, step, update, update_1b, "
            "update_32k (did you mean head_64?)",
        ),
        (["--repeats", "0"], "--repeats 0: it must be at least 1"),
        (["--quick", "--steps", "-1"], "--steps -1: it must be at least 1"),
        (["--threads", "0"], "--threads 0: it must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(fake, arguments, words):
    with pytest.raises(UserError) as told:
        command.main(arguments)
    assert str(told.value) == words
    assert fake == []


@pytest.mark.parametrize("arguments", [["--quik"], ["--repeats", "two"], ["now"]])
def test_an_option_that_does_not_exist_is_told_with_those_that_do(fake, arguments):
    with pytest.raises(UserError, match=r"usage: python -m benchmarks \[--quick\]"):
        command.main(arguments)
    assert fake == []


def test_an_output_that_is_a_file_is_told_before_anything_runs(fake, tmp_path):
    (tmp_path / "here").write_text("x")
    with pytest.raises(UserError, match="here is a file, not a folder"):
        command.main(["--output", str(tmp_path / "here" / "results")])
    assert fake == []
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_only_chooses_cases(fake):
    assert command.main(["--only", "update"]) == 0
    assert [name for name, _ in fake] == ["update"]


def test_a_case_that_needs_a_gpu_is_left_out_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "update_1b" not in [case.name for case in choose(quick=False, only=None)]
    with pytest.raises(UserError, match=r"^--only update_1b: it needs a GPU, and there is none$"):
        choose(quick=False, only=["update", "update_1b"])
