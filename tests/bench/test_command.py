"""The command line: choices, mistakes, and the files it writes."""

from __future__ import annotations

import json

import pytest

from opdkit.bench import command
from opdkit.bench.cases import FULL, QUICK

ANSWER = {"seconds": [1.0], "cpu_seconds": [2.0], "losses": [0.5], "extra_mib": 4.0, "gradient_mib": 1.0, "exact": True}


@pytest.fixture
def fake(monkeypatch):
    """No process is started: every contestant answers alike."""
    jobs = []

    def run_case(case, plan, tell):
        jobs.append((case.name, plan))
        return {name: {"repeats": [ANSWER] * plan.repeats} for name in case.contestants}

    monkeypatch.setattr(command, "run_case", run_case)
    monkeypatch.setattr(command, "require_peers", lambda cases: None)
    monkeypatch.setattr(command, "missing", lambda cases: [])
    return jobs


def test_quick_is_one_repeat_of_two_cases(fake, capsys):
    assert command.main(["--quick"]) == 0
    assert [name for name, _ in fake] == [case.name for case in QUICK]
    assert fake[0][1].repeats == fake[0][1].steps == 1
    assert "times faster" in capsys.readouterr().out


def test_output_holds_the_page_and_every_answer(fake, tmp_path):
    assert command.main(["--output", str(tmp_path / "results"), "--repeats", "2"]) == 0
    whole = json.loads((tmp_path / "results" / "performance.json").read_text())
    assert list(whole["cases"]) == [case.name for case in FULL]
    assert len(whole["cases"]["update"]["answers"]["trl_update"]["repeats"]) == 2
    assert whole["command"] == "opdkit bench --repeats 2"
    text = (tmp_path / "results" / "performance.md").read_text()
    assert str(tmp_path) not in text
    assert text.count("## ") == len(FULL)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--only", "heads"], "--only heads: there is no such case, choose from head_64, head_896, update"),
        (["--repeats", "0"], "--repeats 0: it must be at least 1"),
        (["--quick", "--steps", "-1"], "--steps -1: it must be at least 1"),
        (["--threads", "0"], "--threads 0: it must be at least 1"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_runs(fake, capsys, arguments, words):
    assert command.main(arguments) == 2
    told = capsys.readouterr()
    assert told.err.strip() == f"opdkit bench: {words}"
    assert fake == []


def test_only_chooses_cases(fake):
    assert command.main(["--only", "update"]) == 0
    assert [name for name, _ in fake] == ["update"]
