"""What is found and read: also of runs that are not finished, broken, or no runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from opdkit.jsonl import read_ends
from opdkit.reports.runs import Run, find, read
from tests.reports.folders import config, write_lines, write_run


def test_folders_folders_above_and_globs_are_found_once(tmp_path: Path) -> None:
    one = write_run(tmp_path / "runs" / "day" / "one", config(), [True])
    two = write_run(tmp_path / "runs" / "day" / "two", config(), [True])
    (one / "final").mkdir()
    (one / "final" / "config.yaml").write_text("a model's own")  # nothing below a run is looked at
    folders, remarks = find([str(two), str(tmp_path / "runs"), f"{tmp_path}/runs/../runs", f"{tmp_path}/runs/*/t*"])
    assert folders == [two, one]
    assert remarks == []


def test_what_holds_no_run_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "empty sweep").mkdir()
    (tmp_path / "evaluation" / "evals").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    folders, remarks = find([str(tmp_path / name) for name in ("empty sweep", "evaluation", "file", "absent*")])
    assert folders == []
    assert [remark.split(": ")[1] for remark in remarks] == [
        "contains no run (no config.yaml in it or below)",
        "an evaluation, not a training run",
        "not a folder",
        "no such folder",
    ]


@pytest.mark.parametrize("text", ["a: [", "- 1", "other: 1", "\x00"])
def test_a_config_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    told = read(tmp_path)
    assert isinstance(told, str)
    assert "config.yaml" in told
    assert "\n" not in told


def test_a_run_that_died_mid_line_keeps_its_whole_lines(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", config(), None)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "train/lo')
    run = read(folder)
    assert isinstance(run, Run)
    assert run.step == 3
    assert not run.finished
    assert [remark.split(": ", 1)[1] for remark in run.remarks] == [
        "1 broken line in metrics.jsonl skipped",
        "not finished, at step 3 of 3; not in the results",
    ]


def test_values_that_are_no_numbers_are_gaps(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", config(), [True])
    rows = [
        {"step": 2, "a": 2.0, "b": None},
        {"step": 1, "a": None, "b": "x", "c": True},
        {"step": 2, "a": 3, "big": 10**400},
        {"step": "3", "a": 9},
    ]
    write_lines(folder / "metrics.jsonl", rows)
    run = read(folder)
    assert isinstance(run, Run)
    assert list(run.curves) == ["a"]
    np.testing.assert_array_equal(run.curves["a"].steps, [1, 2])
    np.testing.assert_array_equal(run.curves["a"].values, [np.nan, 3.0])


def test_verdicts_are_read_problem_by_problem(tmp_path: Path) -> None:
    run = read(write_run(tmp_path / "run", config(), [True, False]))
    assert isinstance(run, Run)
    assert run.evaluations["after"].problems == {"sums/0": 1.0, "sums/1": 0.0}
    assert run.evaluations["after"].accuracy == 0.5


def test_a_large_file_is_read_at_its_ends(tmp_path: Path) -> None:
    file = tmp_path / "samples.jsonl"
    write_lines(file, [{"step": step, "text": "x" * 900} for step in range(2000)])
    with file.open("a") as stream:
        stream.write('{"step": 2000, "te')
    found = [row["step"] for row in read_ends(file)]
    assert found[0] == 0
    assert found[-1] == 1999
    assert len(found) < 1000
    wide = tmp_path / "wide.jsonl"
    write_lines(wide, [{"step": step, "text": "x" * 700_000} for step in range(4)])
    assert {0, 3} <= {row["step"] for row in read_ends(wide)}


def test_bytes_that_are_no_text_do_no_harm(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", config(), [True])
    (folder / "env.json").write_bytes(b"\xff\xfe")
    (folder / "samples.jsonl").write_bytes(b'\xff\n{"step": 1}\n[1]\n')
    (folder / "summary.json").write_text(json.dumps({"benchmark": "sums", "after": {"pass@1": "high"}}))
    run = read(folder)
    assert isinstance(run, Run)
    assert run.environment == {}
    assert run.samples == [{"step": 1}]
    assert not run.finished


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("opdkit train run_dir=/home/me/runs/a objective=topk", "opdkit train run_dir=…/a objective=topk"),
        ("opdkit train model.path='/data/m n' +x=[/a/b,/c/d]", "opdkit train model.path='…/m n' +x=[…/b,…/d]"),
        ("opdkit train run_dir=~/runs/a teacher.path=C:/models/b", "opdkit train run_dir=…/a teacher.path=…/b"),
        (
            "opdkit train model.path=Qwen/Qwen2.5 run_dir=runs/a/b",
            "opdkit train model.path=Qwen/Qwen2.5 run_dir=runs/a/b",
        ),
    ],
)
def test_a_command_tells_no_absolute_path(tmp_path: Path, typed: str, told: str) -> None:
    folder = write_run(tmp_path / "one", config(), [True])
    (folder / "env.json").write_text(json.dumps({"command": typed}))
    one = read(folder)
    assert isinstance(one, Run)
    assert one.command == told
