from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from opdkit.functional.divergences import ReverseKL
from opdkit.functional.tails import normalised, renormalised, with_rest

MASK = torch.tensor([[True, True, False, True], [False, True, True, False]])


def _logits(seed: int = 0, shape: tuple[int, ...] = (2, 4)):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def test_renormalised_sums_to_one_inside_and_is_zero_on_fillers():
    logits = _logits()
    log_prob = renormalised(logits, MASK)
    torch.testing.assert_close(torch.where(MASK, log_prob.exp(), 0.0).sum(-1), torch.ones(2).double())
    assert not log_prob[~MASK].any()
    kept = torch.log_softmax(logits[0][MASK[0]], -1)
    torch.testing.assert_close(log_prob[0][MASK[0]], kept)


def test_renormalised_at_fillers_alone_is_finite_and_gives_no_gradient():
    logits = _logits()
    log_prob = renormalised(logits, torch.zeros_like(MASK))
    ReverseKL().terms(log_prob, log_prob.detach() * 2).sum().backward()
    assert not log_prob.any()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_renormalised_by_finite_differences():
    assert gradcheck(lambda x: renormalised(x, MASK), (_logits(),))


def test_normalised_is_the_whole_vocabularys():
    logits = _logits()
    ids = torch.tensor([[0, 3], [2, 1]])
    found = normalised(logits.gather(1, ids), torch.logsumexp(logits, -1))
    torch.testing.assert_close(found, logits.log_softmax(-1).gather(1, ids))
    mask = torch.tensor([[True, False], [True, True]])
    assert normalised(logits.gather(1, ids), torch.logsumexp(logits, -1), mask)[0, 1] == 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 7), vocabulary=st.integers(8, 12))
def test_the_rest_takes_what_the_support_leaves(seed, k, vocabulary):
    log_prob = _logits(seed, (3, vocabulary)).log_softmax(-1)
    parts = with_rest(log_prob[:, :k])
    torch.testing.assert_close(parts.exp().sum(-1), torch.ones(3).double())
    torch.testing.assert_close(parts[:, -1], torch.logsumexp(log_prob[:, k:], -1))


def test_the_rest_of_fillers_alone_is_everything_and_of_a_full_support_is_tiny():
    log_prob = torch.zeros(1, 3).double()
    assert with_rest(log_prob, torch.zeros(1, 3).bool())[0, -1].item() == 0.0
    full = torch.tensor([[0.0, -200.0]], requires_grad=True)
    parts = with_rest(full)
    parts.sum().backward()
    assert -17 < parts[0, -1].item() < -15
    assert full.grad is not None
    assert full.grad.isfinite().all()


def test_the_rest_by_finite_differences():
    assert gradcheck(lambda x: with_rest(x.log_softmax(-1)[:, :3]), (_logits(),))
