from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdkit.errors import UserError
from opdkit.objectives import SequenceMean, SequenceSum, TokenMean

RULES = (TokenMean(), SequenceMean(), SequenceSum(constant=8.0))
RAGGED = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0]]).bool()
VALUE = torch.tensor([[1.0, 2.0, 3.0, 4.0], [10.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (TokenMean(), 20.0 / 5),
        (SequenceMean(), (10.0 / 4 + 10.0) / 2),
        (SequenceSum(constant=8.0), (10.0 / 8 + 10.0 / 8) / 3),
    ],
)
def test_golden_values_on_a_ragged_batch(rule, expected):
    weights = rule.weights(RAGGED, rule.denominator(RAGGED))
    torch.testing.assert_close((VALUE * weights).sum().item(), expected)
    assert not weights[~RAGGED].any()


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(1, 4), rule=st.sampled_from(RULES))
def test_micro_batches_add_up_to_the_full_batch(seed, cut, rule):
    source = torch.Generator().manual_seed(seed)
    mask = torch.rand(5, 6, generator=source) < 0.4
    mask[0, 0] = True
    value = torch.randn(5, 6, generator=source)
    denominator = rule.denominator(mask)
    torch.testing.assert_close(rule.denominator(mask[:cut]) + rule.denominator(mask[cut:]), denominator)
    whole = (value * rule.weights(mask, denominator)).sum()
    parts = [(value[rows] * rule.weights(mask[rows], denominator)).sum() for rows in (slice(cut), slice(cut, None))]
    torch.testing.assert_close(sum(parts), whole)


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), rule=st.sampled_from(RULES))
def test_order_and_padding_change_nothing(seed, rule):
    source = torch.Generator().manual_seed(seed)
    mask, value = torch.rand(4, 5, generator=source) < 0.5, torch.randn(4, 5, generator=source)
    mask[0, 0] = True
    loss = (value * rule.weights(mask, rule.denominator(mask))).sum()
    order = torch.randperm(4, generator=source)
    wide = torch.nn.functional.pad(mask[order], (0, 3))
    weights = rule.weights(wide, rule.denominator(wide))
    torch.testing.assert_close((torch.nn.functional.pad(value[order], (0, 3), value=9.0) * weights).sum(), loss)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
def test_a_batch_without_a_counted_token_weighs_nothing_and_is_no_nan(rule):
    mask = torch.zeros(2, 3, dtype=torch.bool)
    assert not rule.weights(mask, rule.denominator(mask)).any()


def test_masking_a_token_changes_the_denominator():
    masked = RAGGED.clone()
    masked[0, 1] = False
    assert TokenMean().denominator(masked) == TokenMean().denominator(RAGGED) - 1


def test_means_sum_to_one():
    for rule in (TokenMean(), SequenceMean()):
        torch.testing.assert_close(rule.weights(RAGGED, rule.denominator(RAGGED)).sum().item(), 1.0)


@pytest.mark.parametrize("constant", [0.0, -1.0, float("inf"), float("nan")])
def test_constant_must_be_positive(constant):
    with pytest.raises(UserError, match=r"aggregation\.constant"):
        SequenceSum(constant=constant)
