"""How a step's rows are shared among processes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.training.share import Share, cut_rollouts
from opdkit.world.world import World


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.integers(1, 4), st.integers(1, 5))
def test_every_row_has_one_process_and_stays_in_its_mini_batch(sizes: list[int], count: int, processes: int) -> None:
    shares = [Share.of(sizes, count, World(rank, processes)) for rank in range(processes)]
    assert sorted(row for share in shares for row in share.rows) == list(range(sum(sizes)))
    for number, (start, stop) in enumerate(cut_rollouts(sizes, count)):
        own = [share.rows[slice(*share.cuts[number])] for share in shares]
        assert [row for rows in own for row in rows] == list(range(start, stop))
        assert max(map(len, own)) - min(map(len, own)) <= 1
        assert all(share.present[number] is (start < stop) for share in shares)


def test_one_process_has_all_as_it_is() -> None:
    share = Share.of([1] * 6, 2, World())
    values = torch.arange(6)
    assert share.own(values) is values
    assert share.cuts == ((0, 3), (3, 6))
    assert share.joined(values, values) is values


def test_own_rows_of_two() -> None:
    share = Share.of([2, 2, 1, 1], 2, World(1, 2))
    assert share.rows == (2, 3, 5)
    assert share.own(torch.arange(6)).tolist() == [2, 3, 5]
