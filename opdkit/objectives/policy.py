"""The advantage of an objective's policy-gradient term."""

from __future__ import annotations

import math
from typing import Protocol

import torch
from torch import Tensor

from opdkit.data.loss import StepBatch
from opdkit.functional.divergences import Divergence, at_sample
from opdkit.functional.estimators import future, remaining, whiten
from opdkit.functional.groups import group_advantage
from opdkit.functional.masked import only
from opdkit.objectives.choices import RewardForm


class PolicyTerm(Protocol):
    """The fields of `TokenDivergence` that the advantage depends on; documented there."""

    @property
    def divergence(self) -> Divergence: ...

    @property
    def estimates_by_policy(self) -> bool: ...

    @property
    def discount(self) -> float: ...

    @property
    def normalise_returns(self) -> bool: ...

    @property
    def whiten(self) -> bool: ...

    @property
    def reward_weight(self) -> float: ...

    @property
    def reward_form(self) -> RewardForm: ...

    @property
    def clip_log_ratio(self) -> float | None: ...

    @property
    def floor(self) -> float | None: ...


def advantages(choices: PolicyTerm, step: StepBatch) -> Tensor:
    """A_t = -cost_t - sum_{t' > t} discount^(t' - t) h_t' + reward_weight R, f32[B, T], zero where masked.

    R is the reward, raw or relative to its group (`reward_form`).

    h = terms / p, the divergence's value at a sampled token. For the reverse KL, cost and h are both log p - log q, and
    A_t is minus the discounted reward-to-go. cost_t is included only if this gradient estimates the local term.
    Then, at discount 1, E sum_t A_t s_t is minus the gradient of E sum_t D_t over whole responses.
    """
    assert step.old_log_prob is not None
    assert step.teacher_log_prob is not None
    log_p, log_q = only(step.old_log_prob, step.loss_mask), only(step.teacher_log_prob, step.loss_mask)
    advantage = torch.zeros_like(log_p)
    if choices.estimates_by_policy:
        advantage = advantage - _bounded(choices.divergence.cost(log_p, log_q), choices)
    if choices.discount > 0.0:
        later = only(at_sample(choices.divergence, log_p, log_q), step.loss_mask)
        total = future(_bounded(later, choices), choices.discount)
        advantage = advantage - (total / remaining(step.loss_mask) if choices.normalise_returns else total)
    if choices.reward_weight != 0.0:
        worth = _worth(choices, step).to(advantage.dtype)
        advantage = advantage + choices.reward_weight * worth.unsqueeze(1)
    advantage = only(advantage, step.loss_mask).detach()
    return whiten(advantage, step.loss_mask) if choices.whiten else advantage


def _worth(choices: PolicyTerm, step: StepBatch) -> Tensor:
    """The reward's contribution to each response's advantage, f[B]."""
    assert step.reward is not None
    if choices.reward_form == "raw":
        return step.reward
    assert step.group is not None
    return group_advantage(step.reward, step.group, step.reward_known, scale=choices.reward_form == "group_scaled")


def _bounded(costs: Tensor, choices: PolicyTerm) -> Tensor:
    """The costs clamped to +-clip_log_ratio and to at most log((1 - floor) / floor)."""
    limit, floor = choices.clip_log_ratio, choices.floor
    costs = costs if limit is None else costs.clamp(-limit, limit)
    return costs if floor is None else costs.clamp(max=math.log((1.0 - floor) / floor))
