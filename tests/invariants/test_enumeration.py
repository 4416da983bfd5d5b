"""Every response of a tiny world, weighed by its exact probability: no sampling error hides a wrong gradient.

V = 3 tokens, T = 2 steps, a table of logits for each of the four prefixes; 9 responses in all.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from opdkit.data.loss import TokenBatch
from opdkit.data.scores import Scores
from opdkit.functional.surrogates import Clipped, Score
from opdkit.objectives import TokenDivergence, TokenMean
from tests.objectives.presets import sampled_token, top_k

V, T = 3, 2
RESPONSES = torch.tensor(list(itertools.product(range(V), repeat=T)))  # [9, 2]
PREFIX = torch.stack([torch.zeros(len(RESPONSES), dtype=torch.int64), 1 + RESPONSES[:, 0]], 1)  # rows of the table
EVERYWHERE = torch.ones(len(RESPONSES), T, dtype=torch.bool)


@pytest.fixture
def student() -> Tensor:
    table = torch.randn(1 + V, V, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return table.requires_grad_()


@pytest.fixture
def teacher() -> Tensor:
    return 2 * torch.randn(1 + V, V, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def _log_prob(table: Tensor) -> Tensor:
    """log pi(y_t | y_<t) of every response, [9, 2]."""
    return table.log_softmax(1)[PREFIX].gather(2, RESPONSES[..., None]).squeeze(2)


def _probability(table: Tensor) -> Tensor:
    return _log_prob(table).sum(1).exp().detach()


def _sequence_kl(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(pi || q) over whole responses."""
    ours, theirs = _log_prob(student).sum(1), _log_prob(teacher).sum(1)
    return (ours.exp() * (ours - theirs)).sum()


def _expected_gradient(objective: TokenDivergence, student: Tensor, teacher: Tensor) -> Tensor:
    """sum_y pi(y) grad sum_t loss_t(y), through the objective itself."""
    scores = (Scores(sampled_log_prob=_log_prob(table)) for table in (student, teacher))
    value = objective(*scores, TokenBatch(EVERYWHERE)).value
    (gradient,) = torch.autograd.grad((value.sum(1) * _probability(student)).sum(), student)
    return gradient


def _topk_gradient(student: Tensor, teacher: Tensor) -> Tensor:
    """The same for the exact local sum over all V ids at each prefix."""
    scores = (Scores(support_logits=table[PREFIX]) for table in (student, teacher))
    value = top_k(k=V)(*scores, TokenBatch(EVERYWHERE)).value
    (gradient,) = torch.autograd.grad((value.sum(1) * _probability(student)).sum(), student)
    return gradient


def _finite_difference(student: Tensor, teacher: Tensor, step: float = 1e-5) -> Tensor:
    gradient = torch.zeros_like(student)
    for place in itertools.product(*(range(size) for size in student.shape)):
        for sign in (1.0, -1.0):
            moved = student.detach().clone()
            moved[place] += sign * step
            gradient[place] += sign * _sequence_kl(moved, teacher) / (2 * step)
    return gradient


@pytest.mark.parametrize("surrogate", [Score(), Clipped()])
def test_reward_to_go_is_the_gradient_of_the_sequence_kl(student, teacher, surrogate):
    ours = _expected_gradient(sampled_token(discount=1.0, surrogate=surrogate), student, teacher)
    assert (ours - _finite_difference(student, teacher)).abs().max() < 1e-9


def test_token_level_is_not(student, teacher):
    ours = _expected_gradient(sampled_token(discount=0.0, surrogate=Score()), student, teacher)
    assert (ours - _finite_difference(student, teacher)).abs().max() > 0.05


def test_token_level_is_the_mean_gradient_of_the_local_kl_and_so_is_top_k_at_the_whole_vocabulary(student, teacher):
    log_pi, log_q = student.log_softmax(1), teacher.log_softmax(1)
    local = (log_pi.exp() * (log_pi - log_q)).sum(1)[PREFIX]  # prefixes as written: their law has no gradient
    (expected,) = torch.autograd.grad((local.sum(1) * _probability(student)).sum(), student)
    token_level = _expected_gradient(sampled_token(discount=0.0, surrogate=Score()), student, teacher)
    torch.testing.assert_close(token_level, expected)
    torch.testing.assert_close(_topk_gradient(student, teacher), expected)


@pytest.mark.parametrize("discount", [0.0, 0.25, 0.75, 1.0])
def test_bias_of_a_discount_is_what_it_adds(student, teacher, discount):
    """E g_gamma - E g_tok = E sum_t sum_{t' > t} gamma^(t' - t) r_t' s_t (App. B of the method)."""
    ratio = (_log_prob(student) - _log_prob(teacher)).detach()
    later = discount * ratio[:, 1] * _log_prob(student)[:, 0]
    (bias,) = torch.autograd.grad((later * _probability(student)).sum(), student)
    ours = _expected_gradient(sampled_token(discount=discount, surrogate=Score()), student, teacher)
    token_level = _expected_gradient(sampled_token(discount=0.0, surrogate=Score()), student, teacher)
    torch.testing.assert_close(ours - token_level, bias)


def test_what_came_before_adds_nothing_in_the_mean_but_variance(student, teacher):
    """The causal form drops r_t' with t' < t since E[r_t' s_t] = 0."""
    log_pi = _log_prob(student)
    ratio = (log_pi - _log_prob(teacher)).detach()
    everything = (ratio.sum(1, keepdim=True) * log_pi).sum(1)
    (acausal,) = torch.autograd.grad((everything * _probability(student)).sum(), student)
    causal = _expected_gradient(sampled_token(discount=1.0, surrogate=Score()), student, teacher)
    torch.testing.assert_close(causal, acausal)


def _second_moment(discount: float, student: Tensor, teacher: Tensor) -> float:
    total = 0.0
    for index, probability in enumerate(_probability(student)):
        one = slice(index, index + 1)
        scores = (Scores(sampled_log_prob=_log_prob(table)[one]) for table in (student, teacher))
        value = sampled_token(discount=discount, surrogate=Score())(*scores, TokenBatch(EVERYWHERE[one])).value
        (gradient,) = torch.autograd.grad(value.sum(), student)
        total += float(probability) * float(gradient.square().sum())
    return total


def test_variance_grows_with_the_discount():
    """Averaged over worlds, since in a single one a later cost can cancel an earlier one."""
    source = torch.Generator().manual_seed(5)
    spread = dict.fromkeys((0.0, 0.5, 1.0), 0.0)
    for _ in range(20):
        student, teacher = torch.randn(2, 1 + V, V, dtype=torch.float64, generator=source).unbind()
        student.requires_grad_()
        for discount in spread:
            mean = _expected_gradient(sampled_token(discount=discount, surrogate=Score()), student, teacher)
            spread[discount] += _second_moment(discount, student, teacher) - float(mean.square().sum())
    assert spread[0.0] < spread[0.5] < spread[1.0]


def test_clipping_every_log_ratio_away_leaves_no_more_than_the_clip(student, teacher):
    """|advantage| <= clip at each token: the bound B_r of the method's theory is then the user's."""
    scores = (Scores(sampled_log_prob=_log_prob(table)) for table in (student, 5 * teacher))
    advantage = sampled_token(clip_log_ratio=0.1)(*scores, TokenBatch(EVERYWHERE)).metrics["advantage"]
    assert advantage.abs().max() <= 0.1


def test_descending_the_exact_gradient_reaches_the_teacher(student, teacher):
    """The sign, once and for all: following minus the gradient makes the divergence small."""
    for step in (_topk_gradient, lambda s, t: _expected_gradient(sampled_token(discount=1.0), s, t)):
        table = student.detach().clone().requires_grad_()
        before = float(_sequence_kl(table.detach(), teacher))
        for _ in range(300):
            table = (table - 1.0 * step(table, teacher)).detach().requires_grad_()
        assert float(_sequence_kl(table.detach(), teacher)) < 0.01 * before


def test_aggregated_loss_has_the_mean_gradient(student, teacher):
    """Through the token mean: the gradient of 9 equally likely responses is the plain mean over 18 tokens."""
    scores = (Scores(support_logits=table[PREFIX]) for table in (student, teacher))
    value = top_k(k=V)(*scores, TokenBatch(EVERYWHERE)).value
    rule = TokenMean()
    loss = (value * rule.weights(EVERYWHERE, rule.denominator(EVERYWHERE))).sum()
    torch.testing.assert_close(loss, value.mean())
