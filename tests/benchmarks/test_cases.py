"""The cases hang together: names that exist, goals on what is measured, shapes that travel."""

from __future__ import annotations

import importlib
from importlib.util import find_spec

import pytest

from benchmarks.cases import FULL, QUICK
from benchmarks.contestants import CONTESTANTS
from benchmarks.shapes import from_json, to_json

CASES = [*FULL, *QUICK]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_names_contestants_that_exist_its_baseline_and_its_goals_among_them(case):
    names = {entry.contestant for entry in case.entries}
    assert names <= CONTESTANTS.keys()
    assert case.baseline in names
    assert all({goal.contestant, *goal.against} <= names for goal in case.goals)
    assert len({entry.name for entry in case.entries}) == len(case.entries)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_shape_travels_through_a_job_file(case):
    assert [from_json(to_json(entry.shape)) for entry in case.entries] == [entry.shape for entry in case.entries]


@pytest.mark.parametrize("contestant", CONTESTANTS.values(), ids=lambda contestant: contestant.name)
def test_every_factory_is_there(contestant):
    module, _, function = contestant.factory.partition(":")
    if contestant.package and find_spec(contestant.package) is None:
        pytest.skip(f"{contestant.package} is not installed")
    assert callable(getattr(importlib.import_module(module), function))


def test_quick_is_part_of_the_full_bench():
    assert {case.name for case in QUICK} <= {case.name for case in FULL}
