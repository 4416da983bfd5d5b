"""Computes mean and variance of g_gamma exactly, by enumeration and by a recursion over the horizon.

g_gamma = sum_t (sum_{t' >= t} gamma^(t' - t) r_t') s_t,   r_t = log pi - log q,   s_t = grad log pi   (App. D)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from opdkit.functional.estimators import reward_to_go
from opdkit.study.tabular.world import Responses, World, log_prob


@dataclass(frozen=True)
class Moments:
    """mean f64[rows, V] = E g; variance = tr Cov(g) = E|g|^2 - |E g|^2, in nats^2 per squared logit."""

    mean: Tensor
    variance: float


def by_enumeration(world: World, every: Responses, gamma: float) -> Moments:
    """Every response weighted by its probability; the cost to go is `opdkit.functional.estimators.reward_to_go`."""
    log_pi = log_prob(world.student, every)
    probability = log_pi.sum(1).exp()
    to_go = reward_to_go(log_pi - log_prob(world.teacher, every), gamma)
    pieces = to_go[..., None] * scores(world)[every.rows, every.tokens]  # [N, T, V]: contribution of step t to its row
    mean = torch.zeros_like(world.student)
    mean.index_put_((every.rows,), probability[:, None, None] * pieces, accumulate=True)
    same_row = every.rows[:, :, None] == every.rows[:, None, :]
    square = ((pieces @ pieces.transpose(1, 2)) * same_row).sum((1, 2))
    return Moments(mean, float((probability * square).sum() - mean.square().sum()))


def scores(world: World) -> Tensor:
    """s(row, y) = d log pi(y | row) / d logits of that row = onehot(y) - pi, f64[rows, V, V]."""
    identity = torch.eye(world.vocabulary, dtype=torch.float64)
    return identity - world.student.softmax(1)[:, None, :]


def by_recursion(world: World, horizons: Iterable[int], gamma: float) -> dict[int, Moments]:
    """The same for shared rows at any horizon, exactly, in time linear in the longest one.

    With n steps left at row x, R the cost to go and G the rest of the gradient, drawing y and continuing from y's row:
    R = r + gamma R', G = R s + G'. E R, E R^2, E G, E[R G] and E|G|^2 with n steps left follow from those with n - 1.
    """
    wanted = set(horizons)
    moments: dict[int, Moments] = {}
    step = _Step.of(world, gamma)
    state = _State.empty(world)
    for left in range(1, max(wanted) + 1):
        state = step.back(state)
        if left in wanted:
            mean = state.gradient[0].view_as(world.student)
            moments[left] = Moments(mean, float(state.square[0] - mean.square().sum()))
    return moments


@dataclass(frozen=True)
class _State:
    """Moments by row with some number of steps left: E R, E R^2 [rows]; E G, E[R G] [rows, P]; E|G|^2 [rows]."""

    cost: Tensor
    cost_square: Tensor
    gradient: Tensor
    product: Tensor
    square: Tensor

    @classmethod
    def empty(cls, world: World) -> _State:
        none = torch.zeros(len(world.student), dtype=torch.float64)
        wide = torch.zeros(len(world.student), world.student.numel(), dtype=torch.float64)
        return cls(none, none, wide, wide, none)


@dataclass(frozen=True)
class _Step:
    """One draw: probability, ratio f64[rows, V]; score f64[rows, V, P], s as a vector over all P parameters."""

    probability: Tensor
    ratio: Tensor
    score: Tensor
    gamma: float

    @classmethod
    def of(cls, world: World, gamma: float) -> _Step:
        rows, vocabulary = world.student.shape
        log_pi, log_q = world.student.log_softmax(1), world.teacher.log_softmax(1)
        wide = torch.zeros(rows, vocabulary, rows, vocabulary, dtype=torch.float64)
        own = torch.arange(rows)
        wide[own, :, own, :] = scores(world)
        return cls(log_pi.exp(), log_pi - log_q, wide.flatten(2), gamma)

    def back(self, after: _State) -> _State:
        """The moments with one more step left."""
        p, r, s, gamma = self.probability, self.ratio, self.score, self.gamma
        cost, cost_square, square = after.cost[1:], after.cost_square[1:], after.square[1:]  # [V], by the next row
        gradient, product = after.gradient[1:], after.product[1:]  # [V, P]
        now = r + gamma * cost
        now_square = r.square() + 2.0 * gamma * r * cost + gamma**2 * cost_square
        ahead = r[..., None] * gradient + gamma * product  # E[R G' | x, y]
        return _State(
            (p * now).sum(1),
            (p * now_square).sum(1),
            (p[..., None] * (now[..., None] * s + gradient)).sum(1),
            (p[..., None] * (now_square[..., None] * s + ahead)).sum(1),
            (p * (now_square * s.square().sum(2) + 2.0 * (s * ahead).sum(2) + square)).sum(1),
        )


def kl_gradient_by_recursion(world: World, horizons: Iterable[int]) -> dict[int, Tensor]:
    """The gradient of the sequence KL at each horizon, f64[rows, V], for shared rows.

    Differentiates KL_n(x) = sum_y pi(y|x) (r(x, y) + KL_{n-1}(y)), independently of g_gamma.
    """
    student = world.student.clone().requires_grad_()
    log_pi = student.log_softmax(1)
    ratio = log_pi - world.teacher.log_softmax(1)
    wanted = set(horizons)
    left = torch.zeros(len(student), dtype=torch.float64)
    gradients: dict[int, Tensor] = {}
    for steps in range(1, max(wanted) + 1):
        left = (log_pi.exp() * (ratio + left[1:])).sum(1)
        if steps in wanted:
            (gradients[steps],) = torch.autograd.grad(left[0], student, retain_graph=True)
    return gradients


@dataclass(frozen=True)
class Bounds:
    """The largest |r_t| (nats) and |s_t| of a world: B_r and B_s."""

    ratio: float
    score: float

    @classmethod
    def of(cls, world: World) -> Bounds:
        ratio = world.student.log_softmax(1) - world.teacher.log_softmax(1)
        return cls(float(ratio.abs().max()), float(scores(world).square().sum(2).sqrt().max()))

    def paper(self, horizon: int, exponent: int) -> float:
        """(B_r B_s)^2 T^exponent: exponent 2 bounds Var g_tok, 4 bounds Var g_seq."""
        return (self.ratio * self.score) ** 2 * horizon**exponent

    def martingale(self, horizon: int, gamma: float) -> float:
        """(B_r B_s)^2 T sum_{t=1..T} sum_{j<t} gamma^(2j), an upper bound on E|g_gamma|^2.

        *Derived*: g = sum_t' r_t' S_t' with S_t' = sum_{t <= t'} gamma^(t' - t) s_t; as E[s_t | c_t] = 0 the terms of
        S_t' are orthogonal, and |sum of T terms|^2 <= T times the sum of their squares. It is T^2 (T + 1) / 2 at
        gamma = 1, so Var g_seq is O(T^3) on policy, and T^2 at gamma = 0.
        """
        total = sum((horizon - j) * gamma ** (2 * j) for j in range(horizon))
        return (self.ratio * self.score) ** 2 * horizon * total
