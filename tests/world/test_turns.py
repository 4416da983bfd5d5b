"""Processes that act in turns: threads stand for them, and a barrier for what they tell each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opdkit.world.turns import Turns
from opdkit.world.world import World

Plan = list[int]


class _Meeting:
    """Gives each of several threads the largest of the values that they come with."""

    def __init__(self, size: int) -> None:
        self._values: list[float] = [0.0] * size
        self._barrier = threading.Barrier(size, timeout=10)

    def max(self, rank: int, value: float) -> float:
        self._values[rank] = value
        self._barrier.wait()
        found = max(self._values)
        self._barrier.wait()
        return found


class _Thread(World):
    def __init__(self, rank: int, size: int, meeting: _Meeting) -> None:
        super().__init__(rank, size)
        object.__setattr__(self, "_meeting", meeting)

    def max(self, value: float) -> float:
        return self._meeting.max(self.rank, value)  # type: ignore[attr-defined]


def _acts(plans: list[Plan], kinds: int) -> list[list[tuple[int, bool]]]:
    """What each process did in the end, as (kind, whether it had use for it). plans: the acts that each one wants."""
    meeting = _Meeting(len(plans))

    def process(rank: int) -> list[tuple[int, bool]]:
        turns, done = Turns(_Thread(rank, len(plans), meeting)), list[tuple[int, bool]]()

        def idle(kind: int) -> Callable[[], None]:
            return lambda: done.append((kind, False))

        for kind in range(kinds):
            assert turns.kind(idle(kind)) == kind
        with turns:
            for kind in plans[rank]:
                turns.take(kind)
                done.append((kind, True))
        return done

    with ThreadPoolExecutor(len(plans)) as pool:
        return list(pool.map(process, range(len(plans))))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=2, max_size=4))
def test_all_make_the_same_acts_and_each_its_own_in_order(plans: list[Plan]) -> None:
    done = _acts(plans, 3)
    assert len({tuple(kind for kind, _ in acts) for acts in done}) == 1
    assert [[kind for kind, used in acts if used] for acts in done] == plans
    # Nobody makes an act that no process has a use for.
    assert all(any(acts[place][1] for acts in done) for place in range(len(done[0])))


def test_equal_plans_cost_no_idle_act() -> None:
    assert _acts([[0, 1, 1], [0, 1, 1]], 2) == [[(0, True), (1, True), (1, True)]] * 2


def test_one_process_acts_as_it_likes() -> None:
    turns = Turns(World())
    kind = turns.kind(lambda: pytest.fail("nobody else"))
    with turns:
        turns.take(kind)
        turns.take(kind)
