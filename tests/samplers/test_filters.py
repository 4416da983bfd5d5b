"""Which ids each sampler allows, against slow references that know no tensors."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from opdkit.errors import UserError
from opdkit.samplers import Ancestral, Greedy, MinP, TopK, TopP
from opdkit.samplers.ranking import count_to_mass, keep_largest

SAMPLERS = [
    Ancestral(),
    TopP(0.9),
    TopP(1.0),
    TopP(1e-9),
    TopK(1),
    TopK(3),
    TopK(10**6),
    MinP(0.0),
    MinP(0.3),
    Greedy(),
]
# Few different values, so that ties are common; some ids may be impossible.
ROWS = st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0, -math.inf]), min_size=1, max_size=9).filter(
    lambda row: max(row) > -math.inf
)


def ranked(row: list[float]) -> list[int]:
    """Ids by descending logit, of equal ones the lower first."""
    return sorted(range(len(row)), key=lambda i: (-row[i], i))


def probabilities(row: list[float]) -> list[float]:
    total = math.fsum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def nucleus(row: list[float], p: float) -> set[int]:
    """Ids added until they weigh p."""
    kept: list[int] = []
    for token in ranked(row):
        kept.append(token)
        if math.fsum(probabilities(row)[i] for i in kept) >= p:
            break
    return set(kept)


def allowed(sampler: object, row: list[float], dtype: torch.dtype = torch.float64) -> set[int]:
    return ids(sampler(torch.tensor([row], dtype=dtype))[0])  # type: ignore[operator]


def ids(mask: Tensor) -> set[int]:
    return set(mask.nonzero()[:, 0].tolist())


@given(ROWS, st.floats(0.01, 0.99))
@settings(deadline=None)
def test_top_p_is_the_smallest_set_that_reaches_p(row: list[float], p: float) -> None:
    sums = [math.fsum(sorted(probabilities(row), reverse=True)[:n]) for n in range(len(row) + 1)]
    if min(abs(total - p) for total in sums) < 1e-6:
        return  # at the edge the reference's own rounding would decide
    assert allowed(TopP(p), row) == allowed(TopP(p), row, torch.float32) == nucleus(row, p)


@given(ROWS, st.integers(1, 12))
@settings(deadline=None)
def test_top_k_keeps_the_first_k_of_the_ranking(row: list[float], k: int) -> None:
    assert allowed(TopK(k), row) == {i for i in ranked(row)[:k] if row[i] > -math.inf}


@given(ROWS, st.floats(0.01, 1.0))
@settings(deadline=None)
def test_min_p_compares_with_the_likeliest(row: list[float], p: float) -> None:
    shares = [one / max(probabilities(row)) for one in probabilities(row)]
    if any(abs(share - p) < 1e-9 for share in shares if share < 1):
        return
    assert allowed(MinP(p), row) == {i for i, share in enumerate(shares) if share >= p}


@given(st.lists(ROWS.filter(lambda row: len(row) == 4), min_size=1, max_size=4))
@settings(deadline=None, max_examples=30)
def test_every_row_has_a_possible_id_and_rows_do_not_meet(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows)
    for sampler in SAMPLERS:
        together = sampler(logits)
        assert together.dtype == torch.bool
        assert together.any(dim=-1).all()
        assert not (together & (logits == -torch.inf)).any()
        assert torch.equal(together, torch.cat([sampler(row[None]) for row in logits]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("p", "count"), [(0.1, 1), (0.3, 3), (0.7, 7), (0.71, 8), (0.95, 10), (1.0, 10)])
def test_top_p_splits_ties_exactly(p: float, count: int, dtype: torch.dtype) -> None:
    assert allowed(TopP(p), [2.0] * 10, dtype) == set(range(count))


@pytest.mark.parametrize(("tenths", "p", "count"), [((6, 2, 1, 1), 0.8, 2), ((5, 3, 1, 1), 0.9, 3)])
def test_a_sum_that_falls_short_by_rounding_alone_reaches_p(tenths: tuple[int, ...], p: float, count: int) -> None:
    row = [math.log(value / 10) for value in tenths]
    assert allowed(TopP(p), row, torch.float64) == set(range(count))


def test_the_id_that_crosses_p_is_kept() -> None:
    row = [math.log(value) for value in (0.25, 0.5, 0.125, 0.125)]
    assert allowed(TopP(0.5), row) == {1}
    assert allowed(TopP(0.51), row) == {0, 1}
    assert allowed(TopP(0.75), row) == {0, 1}


def test_top_p_of_one_keeps_what_float32_cannot_see() -> None:
    assert allowed(TopP(1.0), [0.0, -200.0, -math.inf], torch.float32) == {0, 1}


def test_greedy_takes_the_lowest_of_equals() -> None:
    assert allowed(Greedy(), [1.0, 3.0, 3.0, 2.0]) == {1}


def test_a_flat_row_is_sorted_beyond_the_head() -> None:
    logits = torch.zeros(2, 3000)
    logits[0, 7] = 50.0
    counts = count_to_mass(logits, 0.5)
    assert counts.tolist() == [1, 1500]
    assert ids(keep_largest(logits, counts)[1]) == set(range(1500))


@pytest.mark.parametrize(
    ("build", "named"),
    [
        (lambda: TopP(0.0), "p=0.0"),
        (lambda: TopP(1.1), "p=1.1"),
        (lambda: TopP(math.nan), "p=nan"),
        (lambda: TopK(0), "k=0"),
        (lambda: MinP(-0.1), "p=-0.1"),
        (lambda: MinP(2.0), "p=2.0"),
    ],
)
def test_values_out_of_range_are_refused(build: object, named: str) -> None:
    with pytest.raises(UserError, match=named):
        build()  # type: ignore[operator]
