"""The files: page, JSON and picture, from answers that nobody had to measure."""

from __future__ import annotations

import json

import pytest

from benchmarks.cases import FULL
from benchmarks.results import Results
from benchmarks.runner import Plan

ANSWER = {"seconds": [1.0], "cpu_seconds": [2.0], "losses": [0.5], "extra_mib": 4.0, "gradient_mib": 1.0, "exact": True}


@pytest.fixture
def results():
    made = Results("python -m benchmarks --repeats 2", Plan(repeats=2), load_before=0.5)
    for case in FULL:
        made.add(case, {entry.name: {"repeats": [ANSWER] * 2} for entry in case.entries})
    return made


def test_the_json_holds_every_answer_with_its_shape(results, tmp_path):
    results.write(tmp_path / "new")
    whole = json.loads((tmp_path / "new" / "performance.json").read_text())
    assert list(whole["cases"]) == [case.name for case in FULL]
    entry = whole["cases"]["update"]["entries"]["trl_update@192"]
    assert len(entry["repeats"]) == 2
    assert entry["shape"]["vocabulary"] == 151936
    assert whole["command"] == "python -m benchmarks --repeats 2"


def test_the_page_has_a_section_a_case_names_its_command_and_no_path(results, tmp_path):
    results.write(tmp_path)
    text = (tmp_path / "performance.md").read_text()
    assert "Written by `python -m benchmarks --repeats 2`" in text
    assert "Load average before and after: 0.50" in text
    assert str(tmp_path) not in text
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [case.title for case in FULL]


def test_the_picture_is_drawn(results, tmp_path):
    results.write(tmp_path)
    assert (tmp_path / "performance.png").read_bytes().startswith(b"\x89PNG")
    assert "![" in (tmp_path / "performance.md").read_text()


def test_a_case_where_nothing_was_measured_still_has_its_section_and_breaks_no_file(tmp_path):
    made = Results("python -m benchmarks", Plan(), load_before=None)
    for case in FULL:
        told = made.add(case, {entry.name: {"repeats": [], "error": "trl is not installed"} for entry in case.entries})
        assert told[0] == f"## {case.title}"
    made.write(tmp_path)
    assert "Load average" not in (tmp_path / "performance.md").read_text()
