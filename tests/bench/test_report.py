"""Ratios, tables and verdicts from known answers."""

from __future__ import annotations

import pytest

from opdkit.bench.cases import FULL, QUICK, Case, Goal, HeadShape
from opdkit.bench.report import compare, machine, page, summarise, table, verdicts
from opdkit.bench.runner import Plan

GOALS = (Goal("20 times faster", "time", 20.0), Goal("1/8 of the memory", "memory", 8.0))
CASE = Case("small", "head", "Small", HeadShape(8, 50, 4), ("opdkit_head", "trl_head", "gkd_head"), "trl_head", GOALS)


def answer(seconds, extra):
    cpu = [value * 2 for value in seconds]
    return {"seconds": seconds, "cpu_seconds": cpu, "losses": [0.25, 0.2], "extra_mib": extra, "gradient_mib": 2.0}


FOUND = {
    "opdkit_head": {"repeats": [answer([0.2, 0.1], 10.0), answer([0.4, 0.3], 12.0), answer([0.5, 0.2], 14.0)]},
    "trl_head": {"repeats": [answer([3.0, 2.5], 60.0), answer([4.0], 60.0), answer([2.0], 61.0)]},
    "gkd_head": {"repeats": [], "error": "trl is not installed"},
}


def test_minimum_is_over_all_steps_and_median_over_repeats():
    numbers = summarise(FOUND["opdkit_head"]["repeats"])
    assert numbers["min_s"] == 0.1
    assert numbers["median_s"] == 0.2
    assert numbers["cpu_s"] == 0.2
    assert numbers["extra_mib"] == 12.0
    assert numbers["loss"] == 0.25


def test_ratios_are_the_baselines_number_over_the_contestants():
    rows = compare(CASE, FOUND)["rows"]
    ours = rows["opdkit_head"]
    assert ours["times_faster"] == pytest.approx(2.0 / 0.1)
    assert ours["times_faster_median"] == pytest.approx(2.5 / 0.2)
    assert ours["times_less_memory"] == pytest.approx(60.0 / 12.0)
    assert rows["trl_head"]["times_faster"] == 1.0
    assert rows["gkd_head"] == {"title": rows["gkd_head"]["title"], "error": "trl is not installed"}


def test_verdicts_say_what_was_reached_and_what_fell_short():
    reached, short = verdicts(CASE, compare(CASE, FOUND))
    assert reached == "Goal: 20 times faster. Measured: 20.0 times (reached)."
    assert short == "Goal: 1/8 of the memory. Measured: 5.0 times (not reached)."


def test_a_contestant_that_was_not_measured_has_a_row_and_no_number():
    lines = table(compare(CASE, FOUND)).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "trl is not installed" in lines[-1]


def test_the_page_names_its_command_and_no_path():
    about = machine(Plan(repeats=3), 0.5, 0.75)
    text = page("opdkit bench --repeats 3", about, [(CASE, compare(CASE, FOUND))])
    assert "Written by `opdkit bench --repeats 3`" in text
    assert "torch" in text
    assert "0.50, 0.75" in text
    assert "/" not in about["processor"]


@pytest.mark.parametrize("case", [*FULL, *QUICK], ids=lambda case: case.name)
def test_every_case_names_contestants_that_exist_and_its_baseline_among_them(case):
    from opdkit.bench.cases import CONTESTANTS

    assert set(case.contestants) <= CONTESTANTS.keys()
    assert case.baseline in case.contestants
    assert case.goals
