from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from opdkit.functional.estimators import ppo_surrogate, reward_to_go, sampled_kl, score_function
from opdkit.functional.masked import only


@settings(deadline=None)
@given(length=st.integers(1, 20), discount=st.floats(0, 1), seed=st.integers(0, 2**31))
def test_reward_to_go_is_the_double_sum(length, discount, seed):
    values = torch.randn(2, length, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.zeros_like(values)
    for t in range(length):
        for later in range(t, length):
            expected[:, t] += discount ** (later - t) * values[:, later]
    torch.testing.assert_close(reward_to_go(values, discount), expected)


def test_discount_0_and_1_are_token_and_causal_sequence_level():
    values = torch.tensor([[1.0, 2.0, 4.0]])
    assert reward_to_go(values, 0.0).tolist() == [[1.0, 2.0, 4.0]]
    assert reward_to_go(values, 1.0).tolist() == [[7.0, 6.0, 4.0]]


def test_score_function_gradient_is_minus_the_advantage():
    log_prob, advantage = torch.tensor([-1.0, -2.0], requires_grad=True), torch.tensor([3.0, -5.0])
    score_function(log_prob, advantage.requires_grad_()).sum().backward()
    assert log_prob.grad is not None
    assert log_prob.grad.tolist() == [-3.0, 5.0]
    assert advantage.grad is None


@pytest.mark.parametrize(
    ("advantage", "ratio", "expected", "slope"),
    [
        (1.0, 1.0, -1.0, -1.0),
        (1.0, 1.1, -1.1, -1.1),
        (1.0, 1.5, -1.2, 0.0),  # better than it was, and far enough: no more push
        (1.0, 0.5, -0.5, -0.5),  # worse than it was: the push stays
        (-1.0, 1.5, 1.5, 1.5),
        (-1.0, 0.5, 0.8, 0.0),
        (-1.0, 4.0, 3.0, 0.0),  # the dual clip
        (1.0, 4.0, -1.2, 0.0),  # which a positive advantage does not know
    ],
)
def test_ppo_values_and_slopes(advantage, ratio, expected, slope):
    log_prob = torch.tensor(math.log(ratio), dtype=torch.float64, requires_grad=True)
    loss = ppo_surrogate(log_prob, torch.zeros((), dtype=torch.float64), torch.tensor(advantage).double(), 0.2, 3.0)
    loss.backward()
    torch.testing.assert_close(loss.item(), expected)
    assert log_prob.grad is not None
    torch.testing.assert_close(log_prob.grad.item(), slope)


def test_without_dual_clip_a_negative_advantage_is_not_bounded():
    loss = ppo_surrogate(torch.tensor(4.0).log(), torch.tensor(0.0), torch.tensor(-1.0), 0.2, None)
    torch.testing.assert_close(loss.item(), 4.0)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31))
def test_ppo_gradient_by_finite_differences_away_from_its_kinks(seed):
    source = torch.Generator().manual_seed(seed)
    old, advantage = torch.randn(2, 3, 4, dtype=torch.float64, generator=source).unbind()
    ratio = torch.tensor([0.4, 0.9, 1.1, 2.5]).double().expand(3, 4)
    log_prob = (old + ratio.log()).requires_grad_()
    assert gradcheck(lambda x: ppo_surrogate(x, old, advantage, 0.2, 3.0), (log_prob,))


def test_at_ratio_one_ppo_has_the_score_functions_gradient():
    log_prob, advantage = torch.randn(5, dtype=torch.float64, requires_grad=True), torch.randn(5).double()
    (ppo,) = torch.autograd.grad(ppo_surrogate(log_prob, log_prob, advantage, 0.2, 3.0).sum(), log_prob)
    (score,) = torch.autograd.grad(score_function(log_prob, advantage).sum(), log_prob)
    torch.testing.assert_close(ppo, score)


@pytest.mark.parametrize("gap", [-1e30, 1e30])
@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_ppo_is_finite_at_extreme_ratios(gap, advantage):
    log_prob = torch.tensor(gap, requires_grad=True)
    loss = ppo_surrogate(log_prob, torch.tensor(0.0), torch.tensor(advantage), 0.2, None)
    loss.backward()
    assert loss.isfinite()
    assert log_prob.grad is not None
    assert log_prob.grad.isfinite()


def test_only_drops_nan_in_value_and_gradient():
    values = torch.tensor([[1.0, float("nan")], [float("inf"), 2.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [False, True]])
    kept = only(values, mask)
    (kept**2).sum().backward()
    assert kept.tolist() == [[1.0, 0.0], [0.0, 2.0]]
    assert values.grad is not None
    assert values.grad.tolist() == [[2.0, 0.0], [0.0, 4.0]]


@pytest.mark.parametrize(("estimator", "forward"), [("k1", False), ("k2", False), ("k3", True)])
def test_expected_gradients_of_the_sampled_estimates_are_those_of_the_divergence(estimator, forward):
    """Over tokens that an older policy drew, by enumeration."""
    logits, teacher, older = torch.randn(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    logits.requires_grad_()
    log_p, log_q, log_old = logits.log_softmax(-1), teacher.log_softmax(-1), older.log_softmax(-1)
    estimate = (log_old.exp() * sampled_kl(log_p, log_old, log_q, estimator)).sum()
    exact = (log_q.exp() * (log_q - log_p)).sum() if forward else (log_p.exp() * (log_p - log_q)).sum()
    found, expected = (torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (estimate, exact))
    torch.testing.assert_close(found, expected)
