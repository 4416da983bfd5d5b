"""Repeated n-grams, against a set of those that were seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.diagnostics.repetition import repeated


@given(st.lists(st.integers(0, 3) | st.just(2**31), max_size=40), st.integers(1, 5))
def test_equals_a_search(tokens: list[int], n: int) -> None:
    seen: set[tuple[int, ...]] = set()
    wanted: list[bool] = []
    for place in range(len(tokens)):
        gram = tuple(tokens[max(0, place - n + 1) : place + 1])
        wanted.append(len(gram) == n and gram in seen)
        if len(gram) == n:
            seen.add(gram)
    assert repeated(np.array(tokens, dtype=np.int64), n).tolist() == wanted


@pytest.mark.parametrize(("n", "share"), [(1, 4), (2, 3), (3, 2)])
def test_a_loop(n: int, share: int) -> None:
    assert repeated(np.array([7, 8, 7, 8, 7, 8]), n).sum() == share
