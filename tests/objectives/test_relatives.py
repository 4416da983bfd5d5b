"""What later work adds to the sampled-token objective: each at the limit where it adds nothing, and beside it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from opdkit.data.loss import Objective, TokenBatch
from opdkit.data.scores import Scores
from opdkit.errors import UserError
from opdkit.functional.baselines import Baseline
from opdkit.functional.groups import group_advantage
from opdkit.functional.mismatch import MaskedRatio, TruncatedRatio
from opdkit.objectives import EntropyAware, TrustRegion
from tests.objectives.presets import sampled_token, top_k
from tests.objectives.worlds import World, ask, make_world


def _gradient(objective: Objective, world: World) -> Tensor:
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


def test_entropy_aware_without_a_threshold_in_reach_is_the_reverse_kl():
    world = make_world(10)
    plain = _gradient(top_k(3), world)
    assert torch.equal(_gradient(EntropyAware(3, threshold=float("inf")), world), plain)
    assert torch.equal(_gradient(EntropyAware(3, weight=0.0), world), plain)
    assert torch.equal(_gradient(EntropyAware(3, threshold=1.0986123), world), plain)  # above log 3
    step = _gradient(EntropyAware(3, threshold=0.9), world)
    assert not torch.allclose(step, plain)
    torch.testing.assert_close(_gradient(EntropyAware(3, threshold=0.9, width=1e-6), world), step)


def test_a_trust_region_of_bound_zero_is_the_sampled_objective():
    for seed in range(3):
        world = make_world(seed)
        moved = dataclasses.replace(world, before=world.student.detach() + 0.3 * world.teacher)
        for outliers in ("forward_kl", "mask"):
            found = _gradient(TrustRegion(0.0, k=3, outliers=outliers), moved)
            torch.testing.assert_close(found, _gradient(sampled_token(), moved), rtol=1e-12, atol=1e-14)


def test_outliers_are_masked_or_covered_and_the_others_stay():
    world = make_world(11)
    ratio = ask(sampled_token(), world).metrics["advantage"].exp()
    far = (ratio < 0.5) & world.mask
    assert far.any()
    assert (world.mask & ~far).any()
    plain = _gradient(sampled_token(), world)
    masked, covered = (_gradient(TrustRegion(0.5, k=3, outliers=kind), world) for kind in ("mask", "forward_kl"))
    assert not masked[far].any()
    assert covered[far].abs().sum(-1).min() > 0
    torch.testing.assert_close(masked[~far], plain[~far])
    torch.testing.assert_close(covered[~far], plain[~far])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: EntropyAware(1), r"objective\.k=1: must be at least 2"),
        (lambda: EntropyAware(threshold=-1.0), r"objective\.threshold=-1\.0"),
        (lambda: EntropyAware(width=0.0), r"objective\.width=0\.0: must be above 0"),
        (lambda: EntropyAware(weight=float("inf")), r"objective\.weight=inf"),
        (lambda: TrustRegion(1.5), r"objective\.bound=1\.5: must be between 0 and 1"),
        (lambda: TrustRegion(k=0), r"objective\.k=0"),
        (lambda: TrustRegion(outliers="clip"), r"objective\.outliers=clip: must be one of"),  # type: ignore[arg-type]
        (lambda: Baseline("mean"), r"objective\.baseline\.kind=mean"),  # type: ignore[arg-type]
        (lambda: Baseline(k=0), r"objective\.baseline\.k=0"),
    ],
)
def test_refuses_what_is_out_of_range(make, told):
    with pytest.raises(UserError, match=told):
        make()


def test_a_mismatch_of_the_engine_is_weighed_and_one_that_is_none_changes_nothing():
    old = torch.tensor([[-1.0, -2.0, -0.5, -3.0]], dtype=torch.float64)
    student, teacher = (old + 0.1).requires_grad_(), old - 0.7
    mask = torch.tensor([[True, True, True, False]])

    def value(objective: Objective, engine: Tensor) -> Tensor:
        batch = TokenBatch(mask, old, behaviour_log_prob=engine)
        return objective(Scores(sampled_log_prob=student), Scores(sampled_log_prob=teacher), batch).value.detach()

    plain = value(sampled_token(), old)
    engine = old - torch.tensor([[1.0, 4.0, 0.25, 9.0]], dtype=torch.float64).log()
    for mismatch in (MaskedRatio(), TruncatedRatio()):
        assert torch.equal(value(sampled_token(mismatch=mismatch), old), plain)
        assert sampled_token(mismatch=mismatch).needs.old_log_prob
    icepop, truncated = (value(sampled_token(mismatch=one), engine) for one in (MaskedRatio(), TruncatedRatio()))
    torch.testing.assert_close(icepop, plain * torch.tensor([[1.0, 4.0, 0.0, 0.0]], dtype=torch.float64))
    torch.testing.assert_close(truncated, plain * torch.tensor([[1.0, 2.0, 0.25, 0.0]], dtype=torch.float64))
    with pytest.raises(UserError, match="must lie around 1"):
        MaskedRatio(1.5)
    with pytest.raises(UserError, match="at least 1"):
        TruncatedRatio(0.5)
