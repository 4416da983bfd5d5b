from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opdkit.errors import UserError
from opdkit.evaluation.statistics import (
    bootstrap_interval,
    majority_correct,
    pass_at_k,
    powers_of_two,
    standard_error,
    stratified_interval,
)

samples = st.lists(st.booleans(), min_size=1, max_size=9)


@given(samples, st.data())
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_answer(correct: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(correct)))
    subsets = list(combinations(correct, k))
    expected = sum(any(subset) for subset in subsets) / len(subsets)
    assert pass_at_k(np.array([correct]), k) == pytest.approx([expected], abs=1e-12)


@given(samples)
def test_pass_at_1_is_the_mean_and_pass_at_n_is_any(correct: list[bool]) -> None:
    array = np.array([correct])
    assert pass_at_k(array, 1) == pytest.approx([np.mean(correct)])
    assert pass_at_k(array, len(correct)) == pytest.approx([float(any(correct))])


def test_pass_at_k_is_unbiased() -> None:
    generator = np.random.default_rng(0)
    chances = generator.uniform(size=20_000)
    drawn = generator.uniform(size=(20_000, 6)) < chances[:, None]
    truth = float(np.mean(1 - (1 - chances) ** 3))
    assert pass_at_k(drawn, 3).mean() == pytest.approx(truth, abs=0.01)


@pytest.mark.parametrize("k", [0, 5])
def test_more_tries_than_samples_are_refused(k: int) -> None:
    with pytest.raises(UserError, match=f"pass@{k} of n_samples=4"):
        pass_at_k(np.ones((2, 4), dtype=bool), k)


def test_powers_of_two() -> None:
    assert [powers_of_two(limit) for limit in (1, 2, 3, 8, 9)] == [[1], [1, 2], [1, 2], [1, 2, 4, 8], [1, 2, 4, 8]]


@pytest.mark.parametrize(
    ("votes", "correct", "expected"),
    [
        (["5", "5", "6"], [True, True, False], 1.0),
        (["5", "6", "6"], [True, False, False], 0.0),
        (["5", "6"], [True, False], 0.5),
        (["5", None, None, None], [True, False, False, False], 1.0),
        ([None, None], [False, False], 0.0),
        (["1", "2", "3"], [False, True, False], 1 / 3),
    ],
)
def test_majority_vote(votes: list[str | None], correct: list[bool], expected: float) -> None:
    assert majority_correct(votes, correct) == pytest.approx(expected)


def test_interval_is_seeded_and_holds_the_mean() -> None:
    values = np.random.default_rng(1).uniform(size=50)
    low, high = bootstrap_interval(values, seed=3)
    assert (low, high) == bootstrap_interval(values, seed=3)
    assert (low, high) != bootstrap_interval(values, seed=4)
    assert low < values.mean() < high


def test_interval_has_the_width_of_the_normal_one() -> None:
    values = (np.arange(1000) % 2).astype(float)
    low, high = bootstrap_interval(values, seed=0)
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.5 / 1000**0.5, 0.5 + 1.96 * 0.5 / 1000**0.5), abs=0.003)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval((generator.uniform(size=60) < 0.6).astype(float), seed=trial, resamples=1000)
        hits += low <= 0.6 <= high
    assert 178 <= hits <= 199


@pytest.mark.parametrize("count", [1, 5, 20])
def test_interval_of_problems_that_are_all_wrong_or_all_right_is_the_binomial_one(count: int) -> None:
    low, high = bootstrap_interval(np.zeros(count), seed=0)
    assert low == 0.0
    assert (1.0 - high) ** count == pytest.approx(0.025)
    assert bootstrap_interval(np.ones(count), seed=0) == pytest.approx((1.0 - high, 1.0))
    assert stratified_interval([np.zeros(count), np.zeros(3)], seed=0)[1] == pytest.approx(
        1.0 - 0.025 ** (1 / (count + 3))
    )


def test_interval_of_other_values_that_agree_has_no_width_and_of_none_is_refused() -> None:
    assert bootstrap_interval(np.full(5, 0.5), seed=0) == (0.5, 0.5)
    with pytest.raises(ValueError, match="no values"):
        bootstrap_interval(np.array([]), seed=0)


def test_the_standard_error_is_that_of_the_mean_and_of_strata() -> None:
    values = np.array([0.0, 1.0, 1.0, 0.5])
    assert standard_error([values]) == pytest.approx(float(values.std(ddof=1)) / 2)
    strata = [np.array([0.0, 1.0]), np.array([1.0, 1.0, 0.0])]
    spread = [len(part) ** 2 / 25 * float(part.var(ddof=1)) / len(part) for part in strata]
    assert standard_error(strata) == pytest.approx(sum(spread) ** 0.5)
    assert standard_error([np.array([1.0])]) is None
    assert standard_error([]) is None
