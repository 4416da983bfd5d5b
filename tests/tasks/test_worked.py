"""Worked sums: the steps, the box, and what is left alone."""

from __future__ import annotations

import re

import pytest

from opdkit.tasks import ReasoningGym
from opdkit.tasks.worked import left_to_right, worked_solution


def test_one_step_a_line() -> None:
    assert left_to_right("4 - 9 + 12") == "From left to right:\n1. 4 - 9 = -5\n2. -5 + 12 = 7\n\\boxed{7}"


@pytest.mark.parametrize("expression", ["", "4", "4 * 2", "-4 + 2", "4 - -2", "(4 + 2)", "4 + 2 ="])
def test_anything_else_is_left_alone(expression: str) -> None:
    assert left_to_right(expression) is None


def test_problems_bring_theirs() -> None:
    task = ReasoningGym("chain_sum", size=20, scorer="answers", template="{expression}", split_by="expression")
    for problem in task.load():
        boxed = re.search(r"boxed\{(-?\d+)\}$", problem.context["solution"])
        assert boxed is not None
        assert boxed.group(1) == problem.reference
        assert problem.text("demonstration") == problem.context["solution"]
    assert worked_solution("countdown", {}) is None
