"""Padded and packed rows are the same rows, and uneven."""

from __future__ import annotations

from benchmarks.models import student_and_teacher
from benchmarks.packing import _SHAPE, RESPONSES, _Tokenizer, compare, rollout_of
from opdkit.models import LanguageModel


def test_rows_have_the_lengths_that_are_told():
    model = LanguageModel(student_and_teacher(_SHAPE)[0], _Tokenizer(), "model", _SHAPE.vocabulary)
    for lengths in RESPONSES.values():
        rollout = rollout_of(model, lengths)
        assert tuple(rollout.sampled_mask.sum(dim=1).tolist()) == lengths


def test_both_ways_are_timed():
    assert all(ratio > 0 for ratio in compare((3, 9, 4), repeats=1))
