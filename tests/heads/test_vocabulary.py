from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from opdkit.functional.divergences import (
    Divergence,
    ForwardKL,
    Jeffreys,
    JensenShannon,
    ReverseKL,
    SkewForwardKL,
    SkewReverseKL,
    SquaredLogRatio,
    TotalVariation,
)
from opdkit.heads import Head, logsumexp, vocabulary_divergence
from tests.heads.cases import KINDS, Kind
from tests.reference import full_logits, full_reverse_kl

DIVERGENCES = (
    ReverseKL(),
    ForwardKL(),
    JensenShannon(0.3),
    SkewForwardKL(0.2),
    SkewReverseKL(0.2),
    Jeffreys(),
    TotalVariation(),
    SquaredLogRatio(),
)


@pytest.fixture(params=DIVERGENCES, ids=lambda divergence: type(divergence).__name__)
def divergence(request: pytest.FixtureRequest) -> Divergence:
    return request.param


def _student(kind: Kind, count: int = 6, dtype: torch.dtype = torch.float64):
    weight, bias = kind.parts(dtype=dtype)
    source = torch.Generator().manual_seed(1)
    hidden = torch.randn(count, weight.shape[1], dtype=torch.float64, generator=source).to(dtype)
    return [t.requires_grad_() for t in (hidden, weight, bias) if t is not None]


def _teacher(count: int = 6, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Head]:
    """Of another width, with another padding, bias, scale and softcap."""
    kind = Kind("teacher", bias=True, scale=0.8, softcap=4.0, padding=2)
    weight, bias = kind.parts(width=5, seed=7, dtype=dtype)
    hidden = torch.randn(count, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(8)).to(dtype)
    return hidden, kind.head(weight, bias)


def _head(kind: Kind, parts: list[Tensor]) -> Head:
    return kind.head(parts[1], parts[2] if kind.bias else None)


def _full(parts: list[Tensor], head: Head, teacher: tuple[Tensor, Head], divergence: Any, temperature: float) -> Tensor:
    log_p = full_logits(parts[0], head, temperature).log_softmax(1)
    log_q = full_logits(*teacher, temperature).log_softmax(1)
    return divergence.terms(log_p, log_q.detach()).sum(1)


@pytest.mark.usefixtures("pieces")
def test_value_and_gradient_equal_those_of_the_full_softmax(kind, divergence):
    parts, teacher = _student(kind), _teacher()
    head, factor = _head(kind, parts), torch.randn(6, dtype=torch.float64)
    ours = vocabulary_divergence(parts[0], head, *teacher, divergence, kind.temperature)
    full = _full(parts, head, teacher, divergence, kind.temperature)
    torch.testing.assert_close(ours, full)
    mine, theirs = (torch.autograd.grad((value * factor).sum(), parts) for value in (ours, full))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().sum() > 0
    assert not mine[1][head.vocabulary :].any()


def test_reverse_kl_equals_the_formula_in_probabilities():
    kind = KINDS[0]
    parts, teacher = _student(kind), _teacher()
    ours = vocabulary_divergence(parts[0], _head(kind, parts), *teacher, ReverseKL())
    torch.testing.assert_close(ours, full_reverse_kl(full_logits(parts[0], _head(kind, parts)), full_logits(*teacher)))


def test_gradient_by_finite_differences(divergence):
    kind = KINDS[-1]
    parts, teacher = _student(kind, count=3), _teacher(count=3)
    real = len(parts[1]) - kind.padding
    tensors = [parts[0], *(part.detach()[:real].requires_grad_() for part in parts[1:])]

    def run(*tensors: Tensor) -> Tensor:
        head = _head(replace(kind, padding=0), list(tensors))
        return vocabulary_divergence(tensors[0], head, *teacher, divergence, kind.temperature)

    assert gradcheck(run, tensors)


def test_a_known_normaliser_of_the_teacher_changes_nothing(divergence):
    kind = KINDS[-1]
    parts, teacher = _student(kind), _teacher()
    known = logsumexp(*teacher, kind.temperature)
    values = [
        vocabulary_divergence(parts[0], _head(kind, parts), *teacher, divergence, kind.temperature, normaliser)
        for normaliser in (None, known)
    ]
    torch.testing.assert_close(values[1], values[0], rtol=0, atol=0)
    gradients = [torch.autograd.grad(value.sum(), parts) for value in values]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_student_that_is_the_teacher_has_no_loss_and_no_gradient(kind, divergence, dtype):
    parts = _student(kind, dtype=dtype)
    teacher = parts[0].detach().clone(), kind.head(parts[1].detach().clone(), parts[2] if kind.bias else None)
    value = vocabulary_divergence(parts[0], _head(kind, parts), *teacher, divergence, kind.temperature)
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-6)
    for gradient in torch.autograd.grad(value.sum(), parts):
        torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-6)


def test_no_gradient_reaches_the_teacher(divergence):
    kind = KINDS[0]
    parts, (hidden, head) = _student(kind), _teacher()
    for tensor in (hidden, head.weight, head.bias):
        assert tensor is not None
        tensor.requires_grad_()
    known = logsumexp(hidden, head)
    vocabulary_divergence(parts[0], _head(kind, parts), hidden, head, divergence, 1.0, known).sum().backward()
    assert head.bias is not None
    assert (hidden.grad, head.weight.grad, head.bias.grad) == (None, None, None)
    parts = [part.detach() for part in parts]
    assert not vocabulary_divergence(parts[0], _head(kind, parts), hidden, head, divergence).requires_grad


def test_the_gradient_moves_when_the_teacher_moves(divergence):
    kind = KINDS[0]
    parts, (hidden, head) = _student(kind), _teacher()

    def gradient(teacher_hidden: Tensor) -> Tensor:
        value = vocabulary_divergence(parts[0], _head(kind, parts), teacher_hidden, head, divergence)
        return torch.autograd.grad(value.sum(), parts[0])[0]

    moved = (gradient(hidden) - gradient(-hidden)).abs().sum(1)
    assert (moved > 1e-3).float().mean() > 0.5  # not all: total variation sees only which of the two is larger


@pytest.mark.parametrize("which", ["hidden", "weight", "neither"])
def test_any_part_may_need_the_gradient(kind, which):
    parts = [part.detach() for part in _student(kind)]
    parts[0].requires_grad_(which == "hidden")
    parts[1].requires_grad_(which == "weight")
    value = vocabulary_divergence(parts[0], _head(kind, parts), *_teacher(), ReverseKL(), kind.temperature)
    assert value.requires_grad == (which != "neither")
    if which != "neither":
        value.sum().backward()
    assert (parts[0].grad is None) == (which != "hidden")
    assert (parts[1].grad is None) == (which != "weight")


@pytest.mark.usefixtures("pieces")
def test_order_and_split_of_the_rows_change_nothing(divergence):
    kind = KINDS[-1]
    parts, (hidden, head) = _student(kind), _teacher()
    order = torch.tensor([3, 0, 5, 1, 4, 2])

    def run(*pieces: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        values = [
            vocabulary_divergence(parts[0][at], _head(kind, parts), hidden[at], head, divergence, kind.temperature)
            for at in pieces
        ]
        value = torch.cat(values)[torch.cat(pieces).argsort()]
        return value, torch.autograd.grad((value * torch.arange(1.0, 7.0)).sum(), parts)

    whole, gradient = run(torch.arange(6))
    for pieces in ((order,), (order[:1], order[1:]), tuple(order.view(3, 2))):
        again, again_gradient = run(*pieces)
        torch.testing.assert_close(again, whole)
        for one, other in zip(again_gradient, gradient, strict=True):
            torch.testing.assert_close(one, other)


def test_tied_embedding_gets_both_gradients(divergence):
    weight = torch.randn(21, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()
    tokens, teacher = torch.tensor([2, 5, 2]), _teacher(count=3)

    def run(weight: Tensor) -> Tensor:
        return vocabulary_divergence(torch.tanh(weight[tokens]), Head(weight, tied=True), *teacher, divergence)

    assert gradcheck(run, (weight,))


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_finite_at_extreme_logits(divergence, size):
    hidden = torch.tensor([[size], [-size], [0.0]], requires_grad=True)
    head = Head(torch.tensor([[1.0], [-1.0], [0.5], [0.25]], requires_grad=True))
    teacher = torch.tensor([[-size], [-size], [size]]), Head(torch.tensor([[1.0], [-0.5], [0.25], [-1.0]]))
    value = vocabulary_divergence(hidden, head, *teacher, divergence)
    assert value.isfinite().all()
    for gradient in torch.autograd.grad(value.sum(), (hidden, head.weight)):
        assert gradient.isfinite().all()


def test_half_precision_is_near_the_exact_value_and_keeps_its_type(divergence):
    kind = KINDS[-1]
    parts, teacher = _student(kind, dtype=torch.bfloat16), _teacher(dtype=torch.bfloat16)
    head = _head(kind, parts)
    value = vocabulary_divergence(parts[0], head, *teacher, divergence, kind.temperature)
    assert value.dtype == torch.float32
    full = _full(parts, head, teacher, divergence, kind.temperature)
    torch.testing.assert_close(value.double(), full, rtol=1e-4, atol=1e-5)
    mine, theirs = (torch.autograd.grad(each.sum(), parts) for each in (value, full))
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == torch.bfloat16
        assert (one - other).double().norm() < 0.03 * other.double().norm()


@pytest.mark.parametrize("half", ["student", "teacher"])
def test_the_two_models_may_be_of_different_types(half):
    kind = KINDS[-1]
    student, teacher = (torch.bfloat16 if half == which else torch.float32 for which in ("student", "teacher"))
    parts, given_teacher = _student(kind, dtype=student), _teacher(dtype=teacher)
    head = _head(kind, parts)
    value = vocabulary_divergence(parts[0], head, *given_teacher, ReverseKL(), kind.temperature)
    assert value.dtype == torch.float32
    full = _full(parts, head, given_teacher, ReverseKL(), kind.temperature)
    torch.testing.assert_close(value.double(), full, rtol=1e-4, atol=1e-5)
    assert [gradient.dtype for gradient in torch.autograd.grad(value.sum(), parts)] == [student] * 3


def test_autocast_does_not_narrow_float32():
    kind = KINDS[0]
    parts, teacher = _student(kind, dtype=torch.float32), _teacher(dtype=torch.float32)

    def gradients() -> tuple[Tensor, ...]:
        value = vocabulary_divergence(parts[0], _head(kind, parts), *teacher, ReverseKL())
        return torch.autograd.grad(value.sum(), parts)

    plain = gradients()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = gradients()
    for mine, theirs in zip(inside, plain, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_no_position_is_no_error():
    hidden, weight = torch.randn(0, 4, requires_grad=True), torch.randn(21, 4, requires_grad=True)
    value = vocabulary_divergence(hidden, Head(weight), torch.randn(0, 3), Head(torch.randn(21, 3)), ReverseKL())
    assert value.shape == (0,)
    value.sum().backward()
    assert weight.grad is not None
    assert not weight.grad.any()


def test_models_that_cannot_be_compared_are_refused():
    hidden, head = torch.randn(2, 4), Head(torch.randn(21, 4), vocabulary=20)
    with pytest.raises(ValueError, match="vocabularies differ: student 20, teacher 21"):
        vocabulary_divergence(hidden, head, hidden, Head(torch.randn(21, 4)), ReverseKL())
    with pytest.raises(ValueError, match="positions differ: student 2, teacher 3"):
        vocabulary_divergence(hidden, head, torch.randn(3, 4), head, ReverseKL())


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_any_shape_and_any_size_of_logits(data: st.DataObject):
    draw: Callable[[Any], Any] = data.draw
    count, vocabulary, seed = draw(st.integers(1, 5)), draw(st.integers(1, 30)), draw(st.integers(0, 2**31))
    kind = Kind(
        "drawn",
        bias=draw(st.booleans()),
        scale=draw(st.sampled_from([1.0, 0.3])),
        softcap=draw(st.sampled_from([None, 2.0])),
        padding=draw(st.integers(0, 3)),
        temperature=draw(st.sampled_from([1.0, 0.6, 2.0])),
    )
    divergence, size = draw(st.sampled_from(DIVERGENCES)), draw(st.sampled_from([0.0, 1.0, 30.0]))
    source = torch.Generator().manual_seed(seed)
    weight, bias = kind.parts(vocabulary, draw(st.integers(1, 4)), seed)
    teacher_weight = torch.randn(vocabulary + draw(st.integers(0, 3)), 3, dtype=torch.float64, generator=source)
    hidden = size * torch.randn(count, weight.shape[1], dtype=torch.float64, generator=source)
    teacher_hidden = size * torch.randn(count, 3, dtype=torch.float64, generator=source)
    parts = [t.requires_grad_() for t in (hidden, weight, bias) if t is not None]
    head, teacher = kind.head(weight, bias), (teacher_hidden, Head(teacher_weight, vocabulary=vocabulary))
    ours = vocabulary_divergence(hidden, head, *teacher, divergence, kind.temperature)
    full = _full(parts, head, teacher, divergence, kind.temperature)
    torch.testing.assert_close(ours, full)
    assert (ours >= -1e-9).all()
    mine, theirs = (torch.autograd.grad(value.sum(), parts) for value in (ours, full))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)
