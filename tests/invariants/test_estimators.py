"""Bias and variance of every estimator of the algebra by exact enumeration: V = 3 ids, T = 2 tokens, 9 responses.

The world's divergence is L = E_{y ~ pi} sum_t D(pi(. | y_<t), q(. | y_<t)); for the reverse KL it is the KL over whole
responses. grad L has a local part, E sum_t grad D_t at prefixes held fixed, and the part that moves the prefixes.
"""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torch import Tensor

from opdkit.functional.baselines import Baseline
from opdkit.functional.divergences import (
    Alpha,
    DensityPower,
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
from opdkit.functional.surrogates import Score
from opdkit.objectives import TokenDivergence
from tests.objectives.worlds import World, ask

V, T = 3, 2
RESPONSES = torch.tensor(list(itertools.product(range(V), repeat=T)))
PREFIX = torch.stack([torch.zeros(len(RESPONSES), dtype=torch.int64), 1 + RESPONSES[:, 0]], 1)
DIVERGENCES = (
    ReverseKL(),
    ForwardKL(),
    JensenShannon(0.3),
    SkewForwardKL(0.1),
    SkewReverseKL(0.1),
    Jeffreys(),
    TotalVariation(),
    SquaredLogRatio(),
    Alpha(0.3),
)
each_divergence = pytest.mark.parametrize("divergence", DIVERGENCES, ids=lambda d: type(d).__name__)


@dataclasses.dataclass(frozen=True)
class Tables:
    """Logits f64[1 + V, V] for each prefix; the student's takes gradients."""

    student: Tensor
    teacher: Tensor

    def probability(self) -> Tensor:
        """Of each of the 9 responses, with gradient."""
        return self.student.log_softmax(1)[PREFIX].gather(2, RESPONSES[..., None]).squeeze(2).sum(1).exp()

    def local(self, divergence: Divergence) -> Tensor:
        """D at each prefix of each response, f64[9, T], with gradient."""
        log_p, log_q = self.student.log_softmax(1), self.teacher.log_softmax(1)
        return divergence.terms(log_p, log_q).sum(1)[PREFIX]

    def gradient(self, loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, self.student)[0]


@pytest.fixture
def tables() -> Tables:
    return _tables(0)


def _tables(seed: int) -> Tables:
    source = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 1 + V, V, dtype=torch.float64, generator=source).unbind()
    return Tables(student.requires_grad_(), 1.5 * teacher)


def _world(tables: Tables, row: int | None = None) -> World:
    rows = slice(None) if row is None else slice(row, row + 1)
    everywhere = torch.ones(len(RESPONSES), T, dtype=torch.bool)[rows]
    reward = torch.zeros(len(everywhere), dtype=torch.float64)
    return World(tables.student[PREFIX][rows], tables.teacher[PREFIX][rows], RESPONSES[rows], everywhere, reward)


def _mean(objective: TokenDivergence, tables: Tables) -> Tensor:
    """E of the objective's gradient over all responses."""
    value = ask(objective, _world(tables)).value
    return tables.gradient((value.sum(1) * tables.probability().detach()).sum())


def _variance(objective: TokenDivergence, tables: Tables) -> float:
    """E |g - E g|^2 over all responses."""
    mean, total = _mean(objective, tables), 0.0
    for row, weight in enumerate(tables.probability().tolist()):
        value = ask(objective, _world(tables, row)).value
        total += weight * float((tables.gradient(value.sum()) - mean).square().sum())
    return total


def _local_gradient(divergence: Divergence, tables: Tables) -> Tensor:
    return tables.gradient((tables.local(divergence).sum(1) * tables.probability().detach()).sum())


def _whole_gradient(divergence: Divergence, tables: Tables) -> Tensor:
    return tables.gradient((tables.local(divergence).sum(1) * tables.probability()).sum())


def _sampled(**choices: object) -> TokenDivergence:
    return TokenDivergence(**{"support": "sampled", "estimator": "score", **choices})  # type: ignore[arg-type]


@each_divergence
def test_the_score_of_a_sampled_token_is_unbiased_for_any_divergence(tables, divergence):
    found = _mean(_sampled(divergence=divergence), tables)
    torch.testing.assert_close(found, _local_gradient(divergence, tables))


def test_the_bounded_reward_is_unbiased_for_the_density_power_divergence(tables):
    divergence = DensityPower(0.5)
    torch.testing.assert_close(_mean(_sampled(divergence=divergence), tables), _local_gradient(divergence, tables))


@pytest.mark.parametrize("baseline", [Baseline(), Baseline("least_variance"), Baseline(k=2)], ids=str)
@pytest.mark.parametrize("divergence", [ReverseKL(), ForwardKL(), Alpha(0.3)], ids=lambda d: type(d).__name__)
def test_a_baseline_leaves_the_mean_gradient(tables, baseline, divergence):
    found = _mean(_sampled(divergence=divergence, baseline=baseline), tables)
    torch.testing.assert_close(found, _local_gradient(divergence, tables))


def test_a_reward_beyond_the_teacher_is_the_log_ratio_to_an_extrapolated_one(tables):
    """A = s (log q - log ref) - (log p - log ref) has the mean gradient of the teacher q^s ref^(1 - s) / Z."""
    reference = _tables(5).student.detach()
    beyond = Tables(tables.student, 1.5 * tables.teacher - 0.5 * reference)
    log_p, log_q, log_r = (logits.log_softmax(1) for logits in (tables.student, tables.teacher, reference))
    reward = (1.5 * (log_q - log_r) - (log_p - log_r)).detach()[PREFIX].gather(2, RESPONSES[..., None]).squeeze(2)
    log_prob = log_p[PREFIX].gather(2, RESPONSES[..., None]).squeeze(2)
    expected = tables.gradient(((-reward * log_prob).sum(1) * tables.probability().detach()).sum())
    torch.testing.assert_close(_mean(_sampled(), beyond), expected)


@pytest.mark.parametrize("seed", range(20))
def test_the_baseline_of_least_variance_is_never_above_another(seed):
    tables = _tables(seed)
    plain, expected, least = (
        _variance(_sampled(baseline=baseline), tables) for baseline in (None, Baseline(), Baseline("least_variance"))
    )
    assert least <= min(plain, expected) + 1e-12


def test_the_expected_cost_takes_variance_away_in_some_worlds_and_adds_it_in_others():
    """|s|^2 is small for a likely id, so the best baseline leans to the costs of the unlikely ones."""
    ratios = [
        _variance(_sampled(baseline=Baseline()), tables) / _variance(_sampled(), tables)
        for tables in map(_tables, range(20))
    ]
    assert min(ratios) < 0.5
    assert max(ratios) > 1.5


@each_divergence
def test_at_discount_one_it_is_the_gradient_over_whole_responses(tables, divergence):
    found = _mean(_sampled(divergence=divergence, discount=1.0, surrogate=Score()), tables)
    torch.testing.assert_close(found, _whole_gradient(divergence, tables))
    assert (found - _local_gradient(divergence, tables)).abs().max() > 1e-3


@each_divergence
@pytest.mark.parametrize("support", [{"support": "full"}, {"support": "teacher", "k": V, "tail": "renormalise"}])
def test_an_exact_step_with_discounted_future_is_too(tables, divergence, support):
    objective = TokenDivergence(divergence=divergence, discount=1.0, **support)
    torch.testing.assert_close(_mean(objective, tables), _whole_gradient(divergence, tables))


def test_the_whole_gradient_is_a_finite_difference(tables):
    """The oracle's own oracle: L moved by hand."""
    step, expected = 1e-5, torch.zeros_like(tables.student)
    for place in itertools.product(range(1 + V), range(V)):
        for sign in (1.0, -1.0):
            moved = tables.student.detach().clone()
            moved[place] += sign * step
            there = dataclasses.replace(tables, student=moved)
            expected[place] += sign * (there.local(ReverseKL()).sum(1) * there.probability()).sum() / (2 * step)
    assert (_whole_gradient(ReverseKL(), tables) - expected).abs().max() < 1e-9


@pytest.mark.parametrize(("estimator", "of"), [("k1", ReverseKL()), ("k2", ReverseKL()), ("k3", ForwardKL())])
def test_whose_gradient_the_sampled_estimates_have(tables, estimator, of):
    found = _mean(_sampled(estimator=estimator), tables)
    torch.testing.assert_close(found, _local_gradient(of, tables))


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_values_of_the_unbiased_estimates(tables, estimator):
    value = ask(_sampled(estimator=estimator), _world(tables)).value
    mean = (value.sum(1) * tables.probability()).sum()
    torch.testing.assert_close(mean, (tables.local(ReverseKL()).sum(1) * tables.probability()).sum())


def test_a_k1_without_its_ratio_would_teach_nothing(tables):
    """Why k1 carries w = pi / pi_old: E[grad log pi] is 0, whatever the teacher."""
    log_pi = tables.student.log_softmax(1)[PREFIX].gather(2, RESPONSES[..., None]).squeeze(2)
    nothing = tables.gradient((log_pi.sum(1) * tables.probability().detach()).sum())
    assert nothing.abs().max() < 1e-12


def test_variances_of_the_estimators_in_order(tables):
    """The exact sum leaves only the prefixes to chance; k2 is the score; k1 adds an s that is pure noise near q = p."""
    near = dataclasses.replace(tables, teacher=tables.student.detach() + 0.05 * tables.teacher)
    exact = _variance(TokenDivergence(support="full"), near)
    score, k1, k2 = (_variance(_sampled(estimator=name), near) for name in ("score", "k1", "k2"))
    assert k2 == pytest.approx(score, rel=1e-9)
    assert exact < score < k1


def _mass_gradient(tables: Tables, k: int) -> Tensor:
    """Of the student's mass on the teacher's k best ids, summed over the prefixes of a response."""
    best = tables.teacher.topk(k, dim=1).indices
    mass = tables.student.softmax(1).gather(1, best).sum(1)[PREFIX]
    return tables.gradient((mass.sum(1) * tables.probability().detach()).sum())


@each_divergence
def test_a_sampled_tail_makes_a_support_unbiased(tables, divergence):
    objective = TokenDivergence(divergence=divergence, k=1, tail="sampled")
    torch.testing.assert_close(_mean(objective, tables), _local_gradient(divergence, tables))


def test_a_detached_tail_adds_the_gradient_of_the_mass(tables):
    """EMA-PG: grad KL + grad m_S beside an exact head, and none beside a detached head (method A4)."""
    exact = _local_gradient(ReverseKL(), tables)
    detached = TokenDivergence(k=1, tail="sampled_detached")
    torch.testing.assert_close(_mean(detached, tables) - exact, _mass_gradient(tables, 1))
    assert _mass_gradient(tables, 1).abs().max() > 1e-2
    both = TokenDivergence(k=1, tail="sampled_detached", estimator="score")
    torch.testing.assert_close(_mean(both, tables), exact)


def test_the_detached_head_differs_from_the_exact_one_by_the_gradient_of_the_mass(tables):
    """sum_S p grad log p, which the "Many Faces" form leaves out."""
    plain, mended = (TokenDivergence(k=2, tail="drop", estimator=form) for form in ("exact", "score"))
    torch.testing.assert_close(_mean(plain, tables) - _mean(mended, tables), _mass_gradient(tables, 2))


def test_a_bucket_over_all_but_one_id_is_the_whole(tables):
    for divergence in DIVERGENCES:
        objective = TokenDivergence(divergence=divergence, k=V - 1, tail="bucket")
        torch.testing.assert_close(_mean(objective, tables), _local_gradient(divergence, tables))


def test_without_renormalising_the_optimum_leaves_the_support():
    """m_S = M_q / e, value -M_q / e (method A3): found by descent on one prefix."""
    teacher = torch.tensor([[[2.0, 1.0, 0.0, -1.0, -1.0]]], dtype=torch.float64)
    student = torch.zeros_like(teacher).requires_grad_()
    token, everywhere = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    objective, descent = TokenDivergence(k=3, tail="drop"), torch.optim.LBFGS([student], 1.0, max_iter=200)

    def loss() -> Tensor:
        world = World(student, teacher, token, everywhere, torch.zeros(1))
        value = ask(objective, world).value.sum()
        descent.zero_grad()
        value.backward()
        return value.detach()

    descent.step(loss)
    value = loss()
    held = float(teacher.softmax(-1)[..., :3].sum())
    assert float(student.detach().softmax(-1)[..., :3].sum()) == pytest.approx(held / torch.e, rel=1e-4)
    assert float(value) == pytest.approx(-held / torch.e, rel=1e-6)
    assert any("63 %" in line for line in objective.warnings)


@pytest.mark.parametrize("discount", [0.0, 0.3, 0.7, 1.0])
def test_bias_of_a_discount_is_linear_in_it_at_two_tokens(tables, discount):
    local, whole = _local_gradient(ReverseKL(), tables), _whole_gradient(ReverseKL(), tables)
    found = _mean(_sampled(discount=discount, surrogate=Score()), tables)
    torch.testing.assert_close(found, local + discount * (whole - local))
