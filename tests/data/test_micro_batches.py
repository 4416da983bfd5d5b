"""Micro-batches by rows and by tokens."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from opdkit.data.micro_batches import MicroBatch
from opdkit.generation import Completion, Turn, pack
from tests.tiny import tiny_model, tiny_problems

MODEL = tiny_model(0)


def cuts(lengths: list[tuple[int, int]], size: MicroBatch) -> list[tuple[int, int]]:
    """Of rows with so many tokens in prompt and response."""
    rows = [(Turn((1,) * p, Completion((2,) * n, torch.zeros(n), torch.zeros(n), "stop")),) for p, n in lengths]
    return size.cuts(pack(MODEL, rows, tiny_problems(len(rows))))


LENGTHS = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12)


@given(LENGTHS, st.integers(1, 6), st.integers(1, 60) | st.none())
def test_every_row_is_in_one_pass_and_no_pass_is_too_large(
    lengths: list[tuple[int, int]], rows: int, tokens: int | None
) -> None:
    found = cuts(lengths, MicroBatch(rows, tokens))
    assert [row for start, stop in found for row in range(start, stop)] == list(range(len(lengths)))
    totals = [sum(pair) for pair in lengths]
    for number, (start, stop) in enumerate(found):
        assert 1 <= stop - start <= rows
        padded = (stop - start) * max(totals[start:stop])
        assert tokens is None or stop - start == 1 or padded <= tokens
        if number + 1 < len(found):  # a pass ends where one row more would not fit
            more = (stop - start + 1) * max(totals[start : stop + 1])
            assert stop - start == rows or (tokens is not None and more > tokens)


@given(LENGTHS, st.integers(1, 6), st.integers(1, 60))
def test_padding_between_packed_rows_does_not_count(lengths: list[tuple[int, int]], rows: int, tokens: int) -> None:
    found = cuts(lengths, MicroBatch(rows, tokens, packed=True))
    assert [row for start, stop in found for row in range(start, stop)] == list(range(len(lengths)))
    totals = [sum(pair) for pair in lengths]
    for number, (start, stop) in enumerate(found):
        assert stop - start == 1 or (stop - start <= rows and sum(totals[start:stop]) <= tokens)
        if number + 1 < len(found):
            assert stop - start == rows or sum(totals[start : stop + 1]) > tokens


def test_by_hand() -> None:
    assert cuts([(2, 2), (3, 1), (1, 1), (9, 9), (1, 1)], MicroBatch(8, 8)) == [(0, 2), (2, 3), (3, 4), (4, 5)]
    assert cuts([(2, 2), (3, 1), (1, 1), (9, 9), (1, 1)], MicroBatch(8, 10, packed=True)) == [(0, 3), (3, 4), (4, 5)]
    assert cuts([(1, 1)] * 5, MicroBatch(2)) == [(0, 2), (2, 4), (4, 5)]
