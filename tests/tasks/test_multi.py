"""Whose turn it is, and who gets how much of a step."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.errors import UserError
from opdkit.tasks import MultiTask, TaskPart

shares = st.lists(st.integers(1, 5), min_size=2, max_size=4)


def multi(*given_shares: int) -> MultiTask:
    return MultiTask({f"t{i}": TaskPart(None, share) for i, share in enumerate(given_shares)})


def test_two_alike_take_turns() -> None:
    assert [multi(1, 1).turn(step) for step in range(5)] == ["t0", "t1", "t0", "t1", "t0"]


@given(shares, st.integers(0, 20))
def test_each_has_its_share_of_every_round_wherever_it_begins(given_shares: list[int], start: int) -> None:
    task, total = multi(*given_shares), sum(given_shares)
    counts = Counter(task.turn(step) for step in range(start, start + total))
    assert [counts[f"t{i}"] for i in range(len(given_shares))] == given_shares


def test_turns_are_spread() -> None:
    assert "".join(multi(3, 1).turn(step)[1] for step in range(8)) in ("00100010", "01000100", "00010001")


@given(shares, st.integers(0, 64))
def test_a_step_is_split_without_rest_and_no_one_is_off_by_a_prompt(given_shares: list[int], count: int) -> None:
    found = multi(*given_shares).split(count)
    assert sum(found.values()) == count
    for i, share in enumerate(given_shares):
        assert abs(found[f"t{i}"] - count * share / sum(given_shares)) < 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MultiTask({"a": TaskPart(None)}), "parts has 1 tasks"),
        (lambda: MultiTask({"a": TaskPart(None), "b/c": TaskPart(None)}), "parts.b/c: a task's name must be"),
        (lambda: TaskPart(None, 0), "share=0: must be at least 1"),
        (lambda: MultiTask(multi(1, 1).parts, schedule="random"), "schedule=random: must be one of alternating, mixed"),  # pyright: ignore
        (lambda: MultiTask(multi(1, 1).parts, teachers="drop"), "teachers=drop: must be one of keep, swap"),  # pyright: ignore
    ],
)
def test_what_is_refused(make, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()
