"""Fits of known growth, and what is concluded from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.cases import Case, Entry
from benchmarks.growth import MIB, exponent, lines, slope, summary
from benchmarks.shapes import UpdateShape

LENGTHS = (64, 128, 256)
SHAPE = UpdateShape(vocabulary=1000, batch=1)


def case():
    entries = [
        Entry(name, replace(SHAPE, response=length))
        for length in LENGTHS
        for name in ("opdkit_update", "body_update", "logits_update")
    ]
    return Case("growth", "Growth", "growth", tuple(entries), "body_update")


def found(ours, body=600.0):
    """Bytes per token of each; every one holds 1 MiB in addition, and takes T^2 microseconds."""
    each = {"opdkit_update": body + ours, "body_update": body, "logits_update": body + 3 * 4000}
    answers = {}
    for name, size in each.items():
        for length in LENGTHS:
            answer = {"seconds": [length**2 / 1e6], "cpu_seconds": [1.0], "losses": [0.5], "gradient_mib": 1.0}
            answers[f"{name}@{length}"] = {"repeats": [answer | {"extra_mib": 1.0 + size * length / MIB}]}
    return answers


def test_slope_and_exponent_of_a_power():
    assert slope([1, 2, 4], [5.0, 7.0, 11.0]) == pytest.approx(2.0)
    assert exponent([1, 2, 4], [3.0, 12.0, 48.0]) == pytest.approx(2.0)
    assert exponent([1, 2], [0.0, 1.0]) is None


def test_what_the_head_adds_is_the_difference_to_the_transformers_alone():
    numbers = summary(case(), found(ours=100.0))
    assert numbers["one_row_bytes"] == 4000
    assert numbers["head"]["bytes_a_token"] == pytest.approx(100.0)
    assert numbers["fits"]["logits_update"]["bytes_a_token"] == pytest.approx(12600.0)
    assert numbers["fits"]["opdkit_update"]["time_exponent"] == pytest.approx(2.0)


@pytest.mark.parametrize(("ours", "verdict"), [(100.0, "2.5% of that: there is none."), (4000.0, "THERE IS ONE")])
def test_a_term_in_length_times_vocabulary_is_told_and_its_absence_too(ours, verdict):
    text = "\n".join(lines(case(), summary(case(), found(ours))))
    assert verdict in text
    assert "full logits grow by 3.1 rows of the vocabulary per token" in text or "3.2 rows" in text


def test_points_that_failed_leave_holes_and_no_conclusion():
    answers = {name: {"repeats": [], "error": "out of memory"} for name in found(1.0)}
    told = lines(case(), summary(case(), answers))
    assert told[-1] == "- Whether there is a term in T x V: not measured."
