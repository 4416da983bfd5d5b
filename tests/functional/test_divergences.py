from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from opdkit.errors import UserError
from opdkit.functional.divergences import (
    Alpha,
    DensityPower,
    ForwardKL,
    Jeffreys,
    JensenShannon,
    ReverseKL,
    SkewForwardKL,
    SkewReverseKL,
    SquaredLogRatio,
    TotalVariation,
    at_sample,
)

ALL = (
    ReverseKL(),
    ForwardKL(),
    JensenShannon(0.5),
    JensenShannon(0.2),
    SkewForwardKL(0.1),
    SkewReverseKL(0.3),
    Jeffreys(),
    TotalVariation(),
    SquaredLogRatio(),
    Alpha(0.5),
    Alpha(0.2),
    DensityPower(0.5),
    DensityPower(1.0),
)
each = pytest.mark.parametrize("divergence", ALL, ids=str)


def plain(divergence, p: list[float], q: list[float]) -> float:
    """The formulas once more, number by number and with nothing shared."""
    pairs = list(zip(p, q, strict=True))
    match divergence:
        case ReverseKL():
            return sum(a * math.log(a / b) for a, b in pairs)
        case ForwardKL():
            return sum(b * math.log(b / a) for a, b in pairs)
        case JensenShannon(beta=w):
            mixed = [w * b + (1 - w) * a for a, b in pairs]
            of_q = sum(b * math.log(b / m) for (_, b), m in zip(pairs, mixed, strict=True))
            of_p = sum(a * math.log(a / m) for (a, _), m in zip(pairs, mixed, strict=True))
            return w * of_q + (1 - w) * of_p
        case SkewForwardKL(alpha=w):
            return sum(b * math.log(b / (w * b + (1 - w) * a)) for a, b in pairs)
        case SkewReverseKL(alpha=w):
            return sum(a * math.log(a / (w * a + (1 - w) * b)) for a, b in pairs)
        case Jeffreys():
            return sum(a * math.log(a / b) + b * math.log(b / a) for a, b in pairs)
        case TotalVariation():
            return sum(abs(a - b) for a, b in pairs) / 2
        case SquaredLogRatio():
            return sum(a * math.log(a / b) ** 2 for a, b in pairs) / 2
        case Alpha(alpha=w):
            return (1 - sum(b**w * a ** (1 - w) for a, b in pairs)) / (w * (1 - w))
        case DensityPower(power=w):
            return sum(a ** (1 + w) - (1 + w) * a * b**w + w * b ** (1 + w) for a, b in pairs) / (1 + w)
    raise AssertionError(divergence)


def _pair(seed: int = 0, shape: tuple[int, ...] = (3, 5), spread: float = 1.0) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(seed)
    student, teacher = (spread * torch.randn(2, *shape, dtype=torch.float64, generator=source)).unbind()
    return student.requires_grad_(), teacher


@each
def test_equals_the_plain_formula(divergence):
    student, teacher = _pair()
    found = divergence.terms(student.log_softmax(-1), teacher.log_softmax(-1)).sum(-1)
    for row in range(len(student)):
        p, q = student[row].softmax(-1).tolist(), teacher[row].softmax(-1).tolist()
        assert found[row].item() == pytest.approx(plain(divergence, p, q), rel=1e-12)


@each
def test_gradcheck(divergence):
    student, teacher = _pair()
    log_q = teacher.log_softmax(-1)
    assert gradcheck(lambda s: divergence.terms(s.log_softmax(-1), log_q).sum(-1), (student,))


@each
def test_slope_is_the_gradient_for_a_logit(divergence):
    """dD / dz_v = slope_v - p_v sum_w slope_w."""
    student, teacher = _pair()
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    (gradient,) = torch.autograd.grad(divergence.terms(log_p, log_q).sum(), student)
    slope = divergence.slope(log_p, log_q)
    torch.testing.assert_close(gradient, slope - log_p.exp() * slope.sum(-1, keepdim=True))


@each
def test_cost_weighs_the_score_of_a_sampled_id(divergence):
    """grad D = E_p[cost s]."""
    student, teacher = _pair()
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    (exact,) = torch.autograd.grad(divergence.terms(log_p, log_q).sum(), student, retain_graph=True)
    surrogate = (log_p.exp().detach() * divergence.cost(log_p, log_q).detach() * log_p).sum()
    (sampled,) = torch.autograd.grad(surrogate, student)
    torch.testing.assert_close(exact, sampled)
    torch.testing.assert_close(divergence.cost(log_p, log_q) * log_p.exp(), divergence.slope(log_p, log_q))


@each
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), k=st.integers(1, 9), spread=st.floats(0.1, 30))
def test_is_zero_with_its_gradient_where_they_agree_and_never_below(divergence, seed, k, spread):
    student, teacher = _pair(seed, (4, k), spread)
    log_p = student.log_softmax(-1)
    same = divergence.terms(log_p, log_p.detach()).sum(-1)
    (gradient,) = torch.autograd.grad(same.sum(), student)
    torch.testing.assert_close(same, torch.zeros_like(same), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)
    assert divergence.cost(log_p, log_p).abs().max() < 1e-12
    assert (divergence.terms(log_p, teacher.log_softmax(-1)).sum(-1) > -1e-12).all()


@each
def test_a_filler_adds_nothing(divergence):
    zero = torch.zeros(3, dtype=torch.float64)
    assert divergence.terms(zero, zero).abs().max() < 1e-15
    assert divergence.slope(zero, zero).abs().max() < 1e-15


@each
def test_finite_at_extremes(divergence):
    log_p = torch.tensor([-1e4, -60.0, 0.0, -1e-8, -1e4], requires_grad=True)
    log_q = torch.tensor([0.0, -1e4, -1e4, -40.0, -1e4])
    value = divergence.terms(log_p, log_q)
    value.sum().backward()
    assert log_p.grad is not None
    found = (value, log_p.grad, divergence.slope(log_p, log_q), divergence.cost(log_p, log_q))
    assert all(one.isfinite().all() for one in found)


@each
def test_at_a_sample_is_terms_over_p(divergence):
    if isinstance(divergence, DensityPower):
        pytest.skip("no f-divergence")
    student, teacher = _pair()
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    torch.testing.assert_close(at_sample(divergence, log_p, log_q) * log_p.exp(), divergence.terms(log_p, log_q))


def test_jensen_shannon_has_the_two_kls_as_its_limits():
    student, teacher = _pair()
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    for beta, limit in ((1e-6, ForwardKL()), (1 - 1e-6, ReverseKL())):
        scaled = JensenShannon(beta).terms(log_p, log_q).sum(-1) / (beta * (1 - beta))
        torch.testing.assert_close(scaled, limit.terms(log_p, log_q).sum(-1), rtol=1e-5, atol=0)


def test_skew_kls_tend_to_the_plain_ones_and_are_bounded():
    student, teacher = _pair(spread=30.0)
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    for skewed, limit in ((SkewForwardKL, ForwardKL()), (SkewReverseKL, ReverseKL())):
        near = skewed(1e-9).terms(0.1 * log_p, 0.1 * log_q)
        torch.testing.assert_close(near, limit.terms(0.1 * log_p, 0.1 * log_q), rtol=1e-5, atol=1e-6)
        assert (skewed(0.1).terms(log_p, log_q).sum(-1) <= -math.log(0.1) + 1e-9).all()
    assert (JensenShannon(0.5).terms(log_p, log_q).sum(-1) <= math.log(2) + 1e-9).all()
    assert (TotalVariation().terms(log_p, log_q).sum(-1) <= 1 + 1e-9).all()


def test_alpha_has_the_two_kls_as_its_limits():
    student, teacher = _pair()
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    for alpha, limit in ((1e-6, ReverseKL()), (1 - 1e-6, ForwardKL())):
        found = Alpha(alpha)
        torch.testing.assert_close(
            found.terms(log_p, log_q).sum(-1), limit.terms(log_p, log_q).sum(-1), rtol=1e-4, atol=1e-8
        )
        torch.testing.assert_close(found.cost(log_p, log_q), limit.cost(log_p, log_q), rtol=1e-4, atol=1e-8)


def test_a_bounded_reward_keeps_the_sign_of_the_log_ratio_and_tends_to_it():
    student, teacher = _pair(spread=10.0)
    log_p, log_q = student.log_softmax(-1), teacher.log_softmax(-1)
    log_ratio = log_q - log_p
    for bounded in (Alpha(0.5), DensityPower(0.5), DensityPower(2.0), TotalVariation()):
        assert torch.equal((-bounded.cost(log_p, log_q)).sign(), log_ratio.sign())
    assert DensityPower(0.5).cost(log_p, log_q).abs().max() <= 1.0
    assert Alpha(0.5).cost(log_p, log_q).max() <= 2.0
    small = DensityPower(1e-6)
    torch.testing.assert_close(-small.cost(log_p, log_q) / 1e-6, log_ratio, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(
        small.terms(log_p, log_q).sum(-1) / 1e-6, ReverseKL().terms(log_p, log_q).sum(-1), rtol=1e-3, atol=1e-8
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_refuses_a_power_that_is_none(value):
    with pytest.raises(UserError, match=r"objective\.divergence\.power=.*above 0"):
        DensityPower(value)


@pytest.mark.parametrize("kind", [Alpha, JensenShannon, SkewForwardKL, SkewReverseKL])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_refuses_a_weight_outside(kind, value):
    with pytest.raises(UserError, match=r"objective\.divergence\.(beta|alpha)=.*between 0 and 1"):
        kind(value)
