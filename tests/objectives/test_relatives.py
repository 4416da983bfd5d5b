"""What later work adds to the sampled-token objective: each at the limit where it adds nothing, and beside it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from opdkit.functional.baselines import Baseline
from opdkit.functional.groups import group_advantage
from opdkit.objectives import TokenDivergence
from tests.objectives.presets import sampled_token
from tests.objectives.worlds import World, ask, make_world


def _gradient(objective: TokenDivergence, world: World) -> Tensor:
    (gradient,) = torch.autograd.grad(ask(objective, world).value.sum(), world.student)
    return gradient


def test_a_group_reward_of_weight_zero_is_the_plain_objective():
    world = make_world(7)
    plain = _gradient(sampled_token(), world)
    assert torch.equal(_gradient(sampled_token(reward_weight=0.0), world), plain)
    assert not torch.allclose(_gradient(sampled_token(reward_weight=1.0, reward_form="group"), world), plain)


def test_a_floor_that_is_low_changes_nothing_and_one_that_is_high_only_what_is_below():
    world = make_world(8)
    plain = _gradient(sampled_token(), world)
    assert torch.equal(_gradient(sampled_token(floor=1e-12), world), plain)
    advantages = ask(sampled_token(floor=0.4), world).metrics["advantage"]
    before = ask(sampled_token(), world).metrics["advantage"]
    least = torch.tensor(0.4 / 0.6, dtype=torch.float64).log()
    torch.testing.assert_close(advantages[world.mask], before.clamp(min=least)[world.mask])
    assert (before < least).any()


@pytest.mark.parametrize("k", [3, None])
def test_a_baseline_reaches_no_uncounted_token_and_no_gradient_flows_through_it(k):
    world = make_world(9)
    moved = dataclasses.replace(world, before=world.student.detach() + 0.3 * world.teacher)
    for kind in ("expected", "least_variance"):
        found = ask(sampled_token(baseline=Baseline(kind, k)), moved)
        assert not found.metrics["advantage"].requires_grad
        assert not found.metrics["advantage"][~world.mask].any()
        assert found.value.isfinite().all()


def test_groups_are_centred_and_an_unknown_reward_silences_its_group():
    reward, group = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1, 2])
    centred = group_advantage(reward, group, scale=False)
    assert centred.tolist() == [0.5, -0.5, 0.0, 0.0, 0.0]
    scaled = group_advantage(reward, group, scale=True)
    assert scaled.tolist() == pytest.approx([1.0, -1.0, 0.0, 0.0, 0.0], abs=1e-5)
    known = torch.tensor([True, False, True, True, True])
    assert not group_advantage(reward, group, known, scale=False).any()
