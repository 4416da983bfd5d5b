from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from opdkit.heads import Head, logsumexp, sampled_log_prob, support_logits, support_with_logsumexp
from tests.heads.cases import Kind
from tests.reference import full_logits

pytestmark = pytest.mark.usefixtures("pieces")


def _given(kind: Kind, count: int = 6):
    weight, bias = kind.parts()
    source = torch.Generator().manual_seed(2)
    hidden = torch.randn(count, weight.shape[1], dtype=torch.float64, generator=source)
    return hidden, weight, bias, torch.randint(0, len(weight) - kind.padding, (count,), generator=source)


def _full(hidden, head, ids, temperature):
    return full_logits(hidden, head, temperature).log_softmax(1).gather(1, ids[:, None]).squeeze(1)


def test_equals_the_full_softmax(kind):
    hidden, weight, bias, ids = _given(kind)
    head = kind.head(weight, bias)
    torch.testing.assert_close(
        sampled_log_prob(hidden, head, ids, kind.temperature), _full(hidden, head, ids, kind.temperature)
    )
    torch.testing.assert_close(
        logsumexp(hidden, head, kind.temperature), full_logits(hidden, head, kind.temperature).logsumexp(1)
    )


@pytest.mark.parametrize("what", [sampled_log_prob, logsumexp])
def test_gradient_by_finite_differences(kind, what):
    hidden, weight, bias, ids = _given(kind, count=4)
    real = len(weight) - kind.padding
    tensors = [t[:real].requires_grad_() for t in (hidden, weight, bias) if t is not None]

    def run(hidden, weight, bias=None):
        head = Head(weight, bias, kind.scale, kind.softcap)
        rest = (ids, kind.temperature) if what is sampled_log_prob else (kind.temperature,)
        return what(hidden, head, *rest)

    assert gradcheck(run, tensors)


def test_gradient_equals_that_of_the_full_softmax_and_spares_padded_rows(kind):
    hidden, weight, bias, ids = _given(kind)
    tensors = [t.requires_grad_() for t in (hidden, weight, bias) if t is not None]
    head, factor = kind.head(weight, bias), torch.randn(6, dtype=torch.float64)
    ours = torch.autograd.grad((sampled_log_prob(hidden, head, ids, kind.temperature) * factor).sum(), tensors)
    full = torch.autograd.grad((_full(hidden, head, ids, kind.temperature) * factor).sum(), tensors)
    for mine, theirs in zip(ours, full, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not ours[1][head.vocabulary :].any()


@pytest.mark.parametrize("which", ["hidden", "weight", "neither"])
def test_any_part_may_need_the_gradient(kind, which):
    hidden, weight, bias, ids = _given(kind)
    hidden.requires_grad_(which == "hidden")
    weight.requires_grad_(which == "weight")
    log_prob = sampled_log_prob(hidden, kind.head(weight, bias), ids, kind.temperature)
    assert log_prob.requires_grad == (which != "neither")
    if which != "neither":
        log_prob.sum().backward()
    assert (hidden.grad is None) == (which != "hidden")
    assert (weight.grad is None) == (which != "weight")


def test_support_logit_minus_normaliser_is_the_log_prob(kind):
    hidden, weight, bias, ids = _given(kind)
    head = kind.head(weight, bias)
    logit = support_logits(hidden, head, ids[:, None], kind.temperature)[:, 0]
    together = logit - logsumexp(hidden, head, kind.temperature)
    torch.testing.assert_close(sampled_log_prob(hidden, head, ids, kind.temperature), together)


def test_support_and_normaliser_together_equal_each_by_itself(kind):
    hidden, weight, bias, _ = _given(kind)
    tensors = [t.requires_grad_() for t in (hidden, weight, bias) if t is not None]
    head = kind.head(weight, bias)
    ids = torch.tensor([[4, 0, 20], [4, 4, 1], [5, 4, 3], [9, 10, 11], [0, 1, 2], [20, 19, 4]])  # one named twice
    source = torch.Generator().manual_seed(3)
    factors = [torch.randn(shape, dtype=torch.float64, generator=source) for shape in ((6, 3), (6,))]
    together = support_with_logsumexp(hidden, head, ids, kind.temperature)
    alone = support_logits(hidden, head, ids, kind.temperature), logsumexp(hidden, head, kind.temperature)
    gradients = []
    for pair in (together, alone):
        loss = sum((value * factor).sum() for value, factor in zip(pair, factors, strict=True))
        gradients.append(torch.autograd.grad(loss, tensors))
    for one, other in zip((*together, *gradients[0]), (*alone, *gradients[1]), strict=True):
        torch.testing.assert_close(one, other)


def test_a_named_id_must_be_in_the_vocabulary():
    with pytest.raises(IndexError, match=r"vocabulary is 0\.\.6"):
        support_with_logsumexp(torch.randn(1, 2), Head(torch.randn(9, 2), vocabulary=7), torch.tensor([[0, 7]]))


def test_tied_embedding_gets_both_gradients():
    weight = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    tokens, ids = torch.tensor([2, 5, 2]), torch.tensor([2, 1, 0])
    assert gradcheck(lambda weight: sampled_log_prob(torch.tanh(weight[tokens]), Head(weight), ids), (weight,))


@pytest.mark.parametrize("size", [1e4, 1e8])
def test_finite_at_extreme_logits(size):
    hidden = torch.tensor([[size], [-size], [0.0]], requires_grad=True)
    head = Head(torch.tensor([[1.0], [-1.0], [0.5], [0.25]]))
    log_prob = sampled_log_prob(hidden, head, torch.tensor([1, 1, 2]))
    log_prob.sum().backward()
    torch.testing.assert_close(log_prob, torch.tensor([-2 * size, 0.0, -torch.tensor(4.0).log().item()]))
    assert hidden.grad is not None
    assert hidden.grad.isfinite().all()


def test_bfloat16_keeps_log_probs_at_most_zero_and_near():
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(50, 8, generator=source).bfloat16().requires_grad_()
    hidden = (3 * torch.randn(40, 8, generator=source)).bfloat16().requires_grad_()
    ids = full_logits(hidden, Head(weight)).argmax(1)
    log_prob = sampled_log_prob(hidden, Head(weight), ids)
    assert log_prob.dtype == torch.float32
    assert (log_prob <= 0).all()
    torch.testing.assert_close(log_prob.double(), _full(hidden, Head(weight), ids, 1.0), rtol=0, atol=1e-5)
    log_prob.sum().backward()
    assert weight.grad is not None
    assert weight.grad.dtype == torch.bfloat16
    assert weight.grad.isfinite().all()


def test_autocast_does_not_narrow_float32():
    weight, hidden = torch.randn(30, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    ids = torch.tensor([0, 29, 3, 4])
    plain = torch.autograd.grad(sampled_log_prob(hidden, Head(weight), ids).sum(), (hidden, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = torch.autograd.grad(sampled_log_prob(hidden, Head(weight), ids).sum(), (hidden, weight))
    for mine, theirs in zip(inside, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
