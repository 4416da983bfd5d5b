"""Ratios, tables and verdicts from known answers."""

from __future__ import annotations

import pytest

from benchmarks.cases import Case, Entry, Goal
from benchmarks.comparison import lines, summarise, summary, verdict
from benchmarks.shapes import HeadShape

SHAPE = HeadShape(8, 50, 4)
FASTER = Goal("20 times faster", "time", 20.0, "opdkit_head", ("trl_head",))
LEANER = Goal("1/8 of the memory", "memory", 8.0, "opdkit_head", ("trl_head",))
ENTRIES = tuple(Entry(name, SHAPE) for name in ("opdkit_head", "trl_head", "gkd_head"))
CASE = Case("small", "Small", "comparison", ENTRIES, "trl_head", (FASTER, LEANER))


def answer(seconds, extra):
    cpu = [value * 2 for value in seconds]
    return {"seconds": seconds, "cpu_seconds": cpu, "losses": [0.25, 0.2], "extra_mib": extra, "gradient_mib": 2.0}


FOUND = {
    "opdkit_head": {"repeats": [answer([0.2, 0.1], 10.0), answer([0.4, 0.3], None), answer([0.5, 0.2], None)]},
    "trl_head": {"repeats": [answer([3.0, 2.5], 60.0), answer([4.0], None), answer([2.0], None)]},
    "gkd_head": {"repeats": [], "error": "trl is not installed"},
}


def test_minimum_is_over_all_steps_and_median_over_repeats():
    numbers = summarise(FOUND["opdkit_head"]["repeats"])
    assert numbers["min_s"] == 0.1
    assert numbers["median_s"] == 0.2
    assert numbers["cpu_s"] == 0.2
    assert numbers["extra_mib"] == 10.0
    assert numbers["loss"] == 0.25


def test_ratios_are_the_baselines_number_over_the_contestants():
    rows = summary(CASE, FOUND)["rows"]
    ours = rows["opdkit_head"]
    assert ours["times_faster"] == pytest.approx(2.0 / 0.1)
    assert ours["times_faster_median"] == pytest.approx(2.5 / 0.2)
    assert ours["times_less_memory"] == pytest.approx(60.0 / 10.0)
    assert rows["trl_head"]["times_faster"] == 1.0
    assert rows["gkd_head"] == {"title": rows["gkd_head"]["title"], "error": "trl is not installed"}


def test_verdicts_say_what_was_reached_by_which_measure_and_what_fell_short():
    rows = summary(CASE, FOUND)["rows"]
    assert verdict(FASTER, rows) == "Measured: 20.0 times by minima, 12.5 by medians (reached by minima alone)."
    assert verdict(LEANER, rows) == "Measured: 6.0 times (not reached)."
    tenfold = Goal("10 times faster", "time", 10.0, "opdkit_head", ("trl_head",))
    assert verdict(tenfold, rows) == "Measured: 20.0 times by minima, 12.5 by medians (reached)."


def test_a_goal_is_held_against_the_best_rival_that_was_measured():
    rows = summary(CASE, FOUND)["rows"]
    rows["gkd_head"] |= {"min_s": 0.2, "median_s": 0.2}
    both = Goal("faster than both", "time", 1.0, "opdkit_head", ("trl_head", "gkd_head"))
    assert verdict(both, rows) == "Measured: 2.0 times by minima, 1.0 by medians (reached)."
    absent = Goal("faster than Liger", "time", 1.0, "opdkit_head", ("liger_head",))
    assert verdict(absent, rows) == "Not measured."


def test_no_memory_beyond_the_gradients_reaches_any_memory_goal():
    rows = summary(CASE, FOUND)["rows"]
    rows["opdkit_head"]["extra_mib"] = -0.5
    assert verdict(LEANER, rows) == "Measured: no memory beyond its gradients, against 60 MiB (reached)."


def test_a_contestant_that_was_not_measured_has_a_row_and_no_number():
    table = [line for line in lines(CASE, summary(CASE, FOUND)) if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "trl is not installed" in table[-1]


def test_without_the_baseline_the_others_keep_their_seconds_and_have_no_ratio():
    found = FOUND | {"trl_head": {"repeats": [], "error": "trl is not installed"}}
    rows = summary(CASE, found)["rows"]
    assert rows["opdkit_head"]["min_s"] == 0.1
    assert "times_faster" not in rows["opdkit_head"]
    assert "Goal: 20 times faster. Not measured." in "\n".join(lines(CASE, summary(CASE, found)))
