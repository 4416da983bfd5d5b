"""Weights of prompts by their pass rate."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.data.grade import Grade
from opdkit.errors import UserError
from opdkit.training.curriculum import PassRate
from opdkit.training.term import Term


@given(
    st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=4),
    st.floats(0, 3),
    st.floats(0, 3),
)
def test_each_row_has_the_weight_of_its_prompt(verdicts: list[list[bool]], a: float, b: float) -> None:
    grades = [Grade.of(right) for group in verdicts for right in group]
    group = torch.tensor([7 * number for number, group in enumerate(verdicts) for _ in group])
    rates = [sum(group) / len(group) for group in verdicts for _ in group]
    expected = torch.tensor([rate**a * (1 - rate) ** b for rate in rates])
    torch.testing.assert_close(PassRate(a, b).weights(grades, group), expected, rtol=1e-5, atol=1e-6)


def test_no_exponents_are_no_curriculum_and_unknown_grades_weigh_nothing() -> None:
    grades = [Grade.of(True), Grade.of(True), Grade(0.0, counts=False), Grade(0.25), Grade(0.75)]
    group = torch.tensor([0, 0, 1, 2, 2])
    assert PassRate(0, 0).weights(grades, group).tolist() == [1, 1, 0, 1, 1]
    assert PassRate().weights(grades, group).tolist() == [0, 0, 0, 0.25, 0.25]


def test_values_out_of_range() -> None:
    with pytest.raises(UserError, match=r"curriculum\.b=-1"):
        PassRate(b=-1)
    with pytest.raises(UserError, match="author=teacher"):
        Term(author="teacher", curriculum=PassRate())
