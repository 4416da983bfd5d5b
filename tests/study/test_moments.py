"""The exact numbers against finite differences, against autograd through the objective's loss, and against sampling."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opdkit.functional.estimators import reward_to_go, score_function
from opdkit.study.tabular.moments import Bounds, by_enumeration, by_recursion, kl_gradient_by_recursion, scores
from opdkit.study.tabular.world import (
    Responses,
    Sharing,
    World,
    draw,
    finite_difference,
    log_prob,
    responses,
    rows_needed,
)

V, T = 3, 4
BOTH: list[Sharing] = ["shared", "per_context"]


def make(sharing: Sharing, seed: int = 0, horizon: int = T) -> tuple[World, Responses]:
    world = draw(seed, V, rows_needed(V, horizon, sharing), sharing, 1.0)
    return world, responses(V, horizon, sharing)


def test_responses_name_their_rows() -> None:
    _, tree = make("per_context", horizon=3)
    assert len({tuple(row) for row in tree.tokens.tolist()}) == V**3
    prefixes = {}
    for tokens, rows in zip(tree.tokens.tolist(), tree.rows.tolist(), strict=True):
        for step, row in enumerate(rows):
            assert prefixes.setdefault(row, tokens[:step]) == tokens[:step]
    assert sorted(prefixes) == list(range(rows_needed(V, 3, "per_context")))
    _, shared = make("shared", horizon=3)
    assert (shared.rows[:, 0] == 0).all()
    assert (shared.rows[:, 1:] == 1 + shared.tokens[:, :-1]).all()


@pytest.mark.parametrize("sharing", BOTH)
def test_probabilities_add_up(sharing: Sharing) -> None:
    world, every = make(sharing)
    assert log_prob(world.student, every).sum(1).exp().sum() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("sharing", BOTH)
def test_gamma_1_is_the_gradient_of_the_sequence_kl_and_gamma_0_is_not(sharing: Sharing) -> None:
    world, every = make(sharing)
    exact = finite_difference(world, every)
    assert (by_enumeration(world, every, 1.0).mean - exact).abs().max() < 1e-9
    assert (by_enumeration(world, every, 0.0).mean - exact).abs().max() > 0.01


@pytest.mark.parametrize("sharing", BOTH)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_mean_is_what_training_would_follow(sharing: Sharing, gamma: float) -> None:
    """Autograd through `score_function` and `reward_to_go`, the objective's own code."""
    world, every = make(sharing)
    student = world.student.clone().requires_grad_()
    log_pi = log_prob(student, every)
    cost = reward_to_go((log_pi - log_prob(world.teacher, every)).detach(), gamma)
    loss = (score_function(log_pi, -cost).sum(1) * log_pi.sum(1).exp().detach()).sum()
    (expected,) = torch.autograd.grad(loss, student)
    torch.testing.assert_close(by_enumeration(world, every, gamma).mean, expected, rtol=1e-11, atol=1e-13)


def written_out(world: World, every: Responses, index: int, weights: Tensor) -> Tensor:
    """sum_t (sum_t' weights[t, t'] r_t') s_t of one response, term by term."""
    rows, tokens = every.rows[index].tolist(), every.tokens[index].tolist()
    pairs = list(zip(rows, tokens, strict=True))
    log_pi, log_q = world.student.log_softmax(1), world.teacher.log_softmax(1)
    gradient = torch.zeros_like(world.student)
    for t, (row, token) in enumerate(pairs):
        score = -log_pi[row].exp()
        score[token] += 1.0
        to_go = sum(float(weights[t, u]) * float(log_pi[p] - log_q[p]) for u, p in enumerate(pairs))
        gradient[row] += to_go * score
    return gradient


@pytest.mark.parametrize("sharing", BOTH)
@pytest.mark.parametrize(("gamma", "weights"), [(0.0, torch.eye(T)), (1.0, torch.ones(T, T).triu())])
def test_the_ends_are_g_tok_and_g_seq(sharing: Sharing, gamma: float, weights: Tensor) -> None:
    """Both moments, from their definitions."""
    world, every = make(sharing)
    gradients = torch.stack([written_out(world, every, i, weights) for i in range(len(every.tokens))])
    probability = log_prob(world.student, every).sum(1).exp()
    mean = (probability[:, None, None] * gradients).sum(0)
    variance = (probability * (gradients - mean).square().sum((1, 2))).sum()
    found = by_enumeration(world, every, gamma)
    torch.testing.assert_close(found.mean, mean, rtol=1e-11, atol=1e-13)
    assert found.variance == pytest.approx(float(variance), rel=1e-11)


@pytest.mark.parametrize("sharing", BOTH)
def test_variance_is_what_sampling_finds(sharing: Sharing) -> None:
    """Within four standard errors of 40,000 sampled responses; a fifth of that would show a 1 % fault."""
    world, every = make(sharing)
    probability = log_prob(world.student, every).sum(1).exp()
    drawn = torch.multinomial(probability, 40_000, replacement=True, generator=torch.Generator().manual_seed(1))
    exact = by_enumeration(world, every, 0.5)
    weights = torch.tensor([[0.5 ** (u - t) if u >= t else 0.0 for u in range(T)] for t in range(T)])
    square = torch.stack([
        (written_out(world, every, i, weights) - exact.mean).square().sum() for i in range(len(every.tokens))
    ])[drawn]  # fmt: skip
    error = float(square.std()) / len(drawn) ** 0.5
    assert error < 0.02 * exact.variance
    assert abs(float(square.mean()) - exact.variance) < 4.0 * error


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9, 1.0])
def test_recursion_is_enumeration(gamma: float) -> None:
    found = by_recursion(make("shared")[0], range(1, 7), gamma)
    for horizon in range(1, 7):
        world, every = make("shared", horizon=horizon)
        exact = by_enumeration(world, every, gamma)
        torch.testing.assert_close(found[horizon].mean, exact.mean, rtol=1e-11, atol=1e-13)
        assert found[horizon].variance == pytest.approx(exact.variance, rel=1e-11)


def test_recursion_for_the_kl_is_the_finite_difference() -> None:
    world, every = make("shared")
    assert (kl_gradient_by_recursion(world, [2, T])[T] - finite_difference(world, every)).abs().max() < 1e-9


def test_a_teacher_that_is_the_student_leaves_nothing() -> None:
    world, every = make("shared")
    same = World(world.student, world.student, "shared")
    assert by_enumeration(same, every, 1.0).variance == 0.0
    assert by_recursion(same, [50], 1.0)[50].variance == 0.0


@pytest.mark.parametrize("sharing", BOTH)
def test_bounds(sharing: Sharing) -> None:
    world, every = make(sharing)
    bounds = Bounds.of(world)
    assert bounds.score == pytest.approx(float(scores(world).square().sum(2).sqrt().max()))
    assert bounds.martingale(T, 0.0) == pytest.approx(bounds.paper(T, 2))
    assert bounds.martingale(T, 1.0) == pytest.approx(bounds.paper(1, 1) * T**2 * (T + 1) / 2)
    for gamma in (0.0, 0.5, 1.0):
        found = by_enumeration(world, every, gamma)
        assert found.variance + float(found.mean.square().sum()) <= bounds.martingale(T, gamma) <= bounds.paper(T, 4)
