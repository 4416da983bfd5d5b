from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from opdkit.functional.divergences import restricted_log_softmax, reverse_kl
from tests.reference import full_reverse_kl

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9))


def _pair(shape, seed, spread=1.0):
    source = torch.Generator().manual_seed(seed)
    return (spread * torch.randn(2, *shape, dtype=torch.float64, generator=source)).unbind()


def test_golden_value():
    """Two ids, pi^ = (3/4, 1/4), q^ = (1/2, 1/2): KL = log 2 - H(1/4)."""
    student, teacher = torch.tensor([3.0, 1.0]).log(), torch.tensor([2.0, 2.0]).log()
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    torch.testing.assert_close(reverse_kl(student, teacher).item(), expected)


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**31))
def test_equals_the_formula_and_is_never_negative(shape, seed):
    student, teacher = _pair(shape, seed)
    value = reverse_kl(student, teacher)
    torch.testing.assert_close(value, full_reverse_kl(student, teacher))
    assert (value > -1e-12).all()


@settings(deadline=None)
@given(shape=SHAPES, seed=st.integers(0, 2**31), shift=st.floats(-50, 50))
def test_zero_where_the_logits_differ_by_a_constant(shape, seed, shift):
    student, _ = _pair(shape, seed)
    torch.testing.assert_close(reverse_kl(student, student + shift), torch.zeros(shape[:-1]).double())


def test_gradient_by_finite_differences_with_and_without_fillers():
    student, teacher = _pair((2, 3, 5), 0)
    student.requires_grad_()
    mask = torch.rand(2, 3, 5, generator=torch.Generator().manual_seed(1)) < 0.6
    mask[..., 0] = True
    assert gradcheck(lambda s: reverse_kl(s, teacher), (student,))
    assert gradcheck(lambda s: reverse_kl(s, teacher, mask), (student,))


def test_a_filler_is_as_if_left_out():
    student, teacher = _pair((7,), 2)
    student.requires_grad_()
    mask = torch.tensor([True, False, True, True, False, True, False])
    whole = reverse_kl(student, teacher, mask)
    torch.testing.assert_close(whole, reverse_kl(student[mask], teacher[mask]))
    whole.backward()
    assert student.grad is not None
    assert not student.grad[~mask].any()
    assert student.grad[mask].all()


def test_fillers_alone_stay_finite():
    student = torch.randn(3, requires_grad=True)
    value = reverse_kl(student, torch.randn(3), torch.zeros(3, dtype=torch.bool))
    value.backward()
    assert value.item() == 0.0
    assert student.grad is not None
    assert not student.grad.any()


def test_finite_at_extreme_logits():
    student = torch.tensor([[1e30, -1e30, 0.0], [-1e4, 1e4, 1e4]], requires_grad=True)
    teacher = torch.tensor([[-1e4, 1e4, 0.0], [1e4, -1e4, 0.0]])
    value = reverse_kl(student, teacher)
    value.sum().backward()
    assert value.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    torch.testing.assert_close(value[0].item(), 2e4)


def test_restricted_log_softmax_sums_to_one_inside():
    logits, _ = _pair((4, 6), 3)
    mask = torch.tensor([True, True, False, True, False, True]).expand(4, 6)
    inside = torch.where(mask, restricted_log_softmax(logits, mask).exp(), 0.0)
    torch.testing.assert_close(inside.sum(-1), torch.ones(4).double())
