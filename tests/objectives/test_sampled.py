from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from opdkit.data.loss import ModelNeeds, Needs, TokenBatch
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.surrogates import Clipped, Score
from tests.objectives.presets import sampled_token

MASK = torch.tensor([[True, True, False, True], [True, False, False, False]])

SAMPLED = ModelNeeds(sampled=True)


def _run(objective, student, teacher, mask=MASK, old=None, reward=None):
    return objective(Scores(sampled_log_prob=student), Scores(sampled_log_prob=teacher), TokenBatch(mask, old, reward))


def _pair(seed=0):
    source = torch.Generator().manual_seed(seed)
    student, teacher = (-torch.rand(2, 2, 4, dtype=torch.float64, generator=source) * 4).unbind()
    return student.requires_grad_(), teacher


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("discount", -0.1),
        ("discount", 1.1),
        ("discount", float("nan")),
        ("clip_log_ratio", 0.0),
        ("reward_weight", float("inf")),
    ],
)
def test_refuses_what_is_out_of_range(key, value):
    with pytest.raises(UserError, match=rf"objective\.{key}={value}"):
        sampled_token(**{key: value})


def test_needs_follow_the_choices():
    assert sampled_token().needs == Needs(SAMPLED, SAMPLED, old_log_prob=True)
    assert sampled_token(surrogate=Score()).needs == Needs(SAMPLED, SAMPLED, single_update=True)
    assert sampled_token(reward_weight=0.5).needs.reward


@pytest.mark.parametrize("surrogate", [Clipped(), Score()])
def test_first_update_pushes_by_minus_the_log_ratio(surrogate):
    """d loss / d log pi(y_t) = r_t on counted tokens, 0 elsewhere."""
    student, teacher = _pair()
    _run(sampled_token(surrogate=surrogate), student, teacher).value.sum().backward()
    torch.testing.assert_close(student.grad, torch.where(MASK, student.detach() - teacher, 0.0))


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_later_log_ratios_are_discounted_over_counted_tokens(discount):
    student, teacher = _pair()
    _run(sampled_token(discount=discount, surrogate=Score()), student, teacher).value.sum().backward()
    ratio = torch.where(MASK, student.detach() - teacher, 0.0)
    expected = torch.zeros_like(ratio)
    for t in range(4):
        for later in range(t, 4):
            expected[:, t] += discount ** (later - t) * ratio[:, later]
    torch.testing.assert_close(student.grad, torch.where(MASK, expected, 0.0))


def test_log_ratios_are_clipped_before_they_are_summed():
    student = torch.tensor([[-1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[-20.0, 8.0]], dtype=torch.float64)
    objective = sampled_token(discount=1.0, clip_log_ratio=5.0, surrogate=Score())
    _run(objective, student, teacher, torch.ones(1, 2).bool()).value.sum().backward()
    torch.testing.assert_close(student.grad, torch.tensor([[5.0 - 5.0, -5.0]]).double())


def test_a_masked_token_passes_nothing_on():
    """Masking comes before discounting: the masked token's log-ratio reaches no earlier token."""
    student, teacher = _pair()
    objective = sampled_token(discount=1.0)
    first = _run(objective, student, teacher).metrics["advantage"]
    moved = torch.where(MASK, teacher, -100.0)
    assert torch.equal(_run(objective, student, moved).metrics["advantage"], first)


def test_reward_is_mixed_in():
    student, teacher = _pair()
    reward = torch.tensor([1.0, 0.0])
    with_reward = _run(sampled_token(reward_weight=2.0), student, teacher, reward=reward).metrics["advantage"]
    without = _run(sampled_token(), student, teacher).metrics["advantage"]
    torch.testing.assert_close(with_reward - without, torch.where(MASK, 2.0 * reward.double()[:, None], 0.0))


def test_later_updates_keep_the_advantage_of_the_old_student():
    student, teacher = _pair()
    old = student.detach() - 0.1
    objective = sampled_token()
    torch.testing.assert_close(
        _run(objective, student, teacher, old=old).metrics["advantage"],
        torch.where(MASK, teacher - old, 0.0),
    )
    ratio = _run(objective, student, teacher, old=old).metrics["importance_ratio"]
    torch.testing.assert_close(ratio[MASK], torch.full((4,), 0.1).double().exp())


@pytest.mark.parametrize("surrogate", [Clipped(), Score()])
def test_gradient_by_finite_differences(surrogate):
    student, teacher = _pair()
    old = student.detach() + 0.05
    objective = sampled_token(discount=0.5, surrogate=surrogate)
    assert gradcheck(lambda s: _run(objective, s, teacher, old=old).value, (student,))


@settings(deadline=None)
@given(seed=st.integers(0, 2**31), discount=st.floats(0, 1), surrogate=st.sampled_from([Clipped(), Score()]))
def test_student_equal_to_teacher_gives_no_gradient(seed, discount, surrogate):
    student, _ = _pair(seed)
    value = _run(sampled_token(discount=discount, surrogate=surrogate), student, student.detach()).value
    value.sum().backward()
    assert not value.any()
    assert student.grad is not None
    assert not student.grad.any()


def test_raises_what_the_teacher_prefers_and_lowers_the_rest():
    student = torch.tensor([[-1.0, -1.0]], requires_grad=True)
    _run(sampled_token(), student, torch.tensor([[-0.2, -3.0]]), torch.ones(1, 2).bool()).value.sum().backward()
    assert student.grad is not None
    assert student.grad[0, 0] < 0 < student.grad[0, 1]


def test_no_gradient_reaches_the_teacher_or_the_old_student():
    student, teacher = _pair()
    old = (student.detach() + 0.1).requires_grad_()
    loss = _run(sampled_token(discount=0.5), student, teacher.requires_grad_(), old=old)
    loss.value.sum().backward()
    assert not any(metric.requires_grad for metric in loss.metrics.values())
    assert teacher.grad is None
    assert old.grad is None


@pytest.mark.parametrize("surrogate", [Clipped(), Score()])
def test_masked_positions_are_zero_and_leak_no_nan(surrogate):
    student, teacher = _pair()
    with torch.no_grad():
        student[~MASK], teacher[~MASK] = -torch.inf, torch.nan
    loss = _run(sampled_token(discount=0.9, surrogate=surrogate), student, teacher)
    loss.value.sum().backward()
    assert not loss.value[~MASK].any()
    assert all(not metric[~MASK].any() for metric in loss.metrics.values())
    assert student.grad is not None
    assert student.grad.isfinite().all()


def test_finite_at_extreme_log_probs():
    student = torch.tensor([[-1e6, 0.0]], requires_grad=True)
    old, teacher = torch.tensor([[0.0, -1e6]]), torch.tensor([[-1e6, -1e6]])
    loss = _run(sampled_token(discount=1.0, surrogate=Clipped()), student, teacher, torch.ones(1, 2).bool(), old=old)
    loss.value.sum().backward()
    assert loss.value.isfinite().all()
    assert all(metric.isfinite().all() for metric in loss.metrics.values())
    assert student.grad is not None
    assert student.grad.isfinite().all()
