from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from opdkit.heads import Head, support_logits
from tests.heads.cases import Kind
from tests.reference import full_logits

pytestmark = pytest.mark.usefixtures("pieces")


def _given(kind: Kind, count: int = 6, k: int = 3):
    weight, bias = kind.parts()
    source = torch.Generator().manual_seed(1)
    hidden = torch.randn(count, weight.shape[1], dtype=torch.float64, generator=source)
    ids = torch.randint(0, len(weight) - kind.padding, (count, k), generator=source)
    ids[:, 0] = 4  # a row that every position names, and one named twice by the same position
    ids[0] = 4
    return hidden, weight, bias, ids


def test_equals_the_named_columns_of_the_full_product(kind):
    hidden, weight, bias, ids = _given(kind)
    head = kind.head(weight, bias)
    expected = full_logits(hidden, head, kind.temperature).gather(1, ids)
    torch.testing.assert_close(support_logits(hidden, head, ids, kind.temperature), expected)


def test_gradient_by_finite_differences(kind):
    hidden, weight, bias, ids = _given(kind)
    tensors = [t.requires_grad_() for t in (hidden, weight[: len(weight) - kind.padding], bias) if t is not None]

    def run(hidden, weight, bias=None):
        bias = None if bias is None else bias[: len(weight)]
        return support_logits(hidden, Head(weight, bias, kind.scale, kind.softcap), ids, kind.temperature)

    assert gradcheck(run, tensors)


def test_gradient_equals_that_of_the_full_product(kind):
    hidden, weight, bias, ids = _given(kind)
    tensors = [t.requires_grad_() for t in (hidden, weight, bias) if t is not None]
    head = kind.head(weight, bias)
    factor = torch.randn(ids.shape, dtype=torch.float64)
    ours = torch.autograd.grad((support_logits(hidden, head, ids, kind.temperature) * factor).sum(), tensors)
    full = full_logits(hidden, head, kind.temperature).gather(1, ids)
    for mine, theirs in zip(ours, torch.autograd.grad((full * factor).sum(), tensors), strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("which", ["hidden", "weight", "neither"])
def test_any_part_may_need_the_gradient(kind, which):
    hidden, weight, bias, ids = _given(kind)
    hidden.requires_grad_(which == "hidden")
    weight.requires_grad_(which == "weight")
    logits = support_logits(hidden, kind.head(weight, bias), ids, kind.temperature)
    assert logits.requires_grad == (which != "neither")
    if which != "neither":
        logits.sum().backward()
    assert (hidden.grad is None) == (which != "hidden")
    assert (weight.grad is None) == (which != "weight")


def test_rows_that_no_one_names_get_no_gradient(kind):
    hidden, weight, bias, ids = _given(kind)
    weight.requires_grad_()
    support_logits(hidden, kind.head(weight, bias), ids, kind.temperature).sum().backward()
    assert weight.grad is not None
    named = torch.zeros(len(weight), dtype=torch.bool)
    named[ids.flatten()] = True
    assert not weight.grad[~named].any()
    assert weight.grad[named].abs().sum(1).all()


def test_tied_embedding_gets_both_gradients():
    """The embedding is the head: the row of an input token and the rows of the support add up."""
    weight = torch.randn(9, 4, dtype=torch.float64, requires_grad=True)
    tokens, ids = torch.tensor([2, 5, 2]), torch.tensor([[2, 3], [5, 1], [0, 2]])

    def run(weight):
        return support_logits(torch.tanh(weight[tokens]), Head(weight), ids)

    assert gradcheck(run, (weight,))


def test_bfloat16_is_summed_in_float32():
    source = torch.Generator().manual_seed(0)
    weight = torch.randn(40, 16, generator=source).bfloat16().requires_grad_()
    hidden = torch.randn(300, 16, generator=source).bfloat16().requires_grad_()
    ids = torch.zeros(300, 2, dtype=torch.int64)  # 600 terms into one row
    ids[:, 1] = 7
    logits = support_logits(hidden, Head(weight), ids)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, full_logits(hidden, Head(weight)).gather(1, ids).float())
    logits.sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad[7], hidden.detach().double().sum(0).bfloat16(), rtol=2**-7, atol=0)
    assert hidden.grad is not None
    assert hidden.grad.dtype == torch.bfloat16


def test_autocast_does_not_narrow_float32(kind):
    weight, bias = kind.parts(dtype=torch.float32)
    hidden, ids = torch.randn(4, 4, requires_grad=True), torch.tensor([[0, 3]] * 4)
    head = kind.head(weight, bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = support_logits(hidden, head, ids, kind.temperature)
        (inside,) = torch.autograd.grad(logits.sum(), hidden)
    again = support_logits(hidden, head, ids, kind.temperature)
    torch.testing.assert_close(logits, again, rtol=0, atol=0)
    torch.testing.assert_close(inside, torch.autograd.grad(again.sum(), hidden)[0], rtol=0, atol=0)


@pytest.mark.parametrize("positions", [3, 60], ids=["few rows", "many rows"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_tied_weight_gets_the_gradient_of_both_uses_as_one_dense_tensor(positions, dtype):
    source = torch.Generator().manual_seed(4)
    ids = torch.randint(0, 40, (positions, 2), generator=source)
    read = torch.randint(0, 40, (positions,), generator=source)
    gradients = []
    for tied in (False, True):
        weight = torch.randn(40, 4, generator=source.manual_seed(5), dtype=torch.float64).to(dtype).requires_grad_()
        for _ in range(2):  # the second one is added to the first
            hidden = torch.nn.functional.embedding(read, weight).tanh()
            support_logits(hidden, Head(weight, tied=tied), ids, 1.3).square().sum().backward()
        assert weight.grad is not None
        assert weight.grad.layout == torch.strided
        gradients.append(weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])
    assert gradients[0].abs().sum() > 0
