"""RLSD's advantage in float64 against the formula, its limits, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from opdkit.data.loss import StepBatch
from opdkit.errors import UserError
from opdkit.objectives import GroupRelativePolicy, SelfDistilledPolicy
from tests.objectives.worlds import ask, make_world

GROUP = torch.tensor([0, 0, 0, 1, 1, 1])


def step_of(seed: int, number: int = 0, spread: float = 1.0) -> StepBatch:
    """Six rows of five tokens in two groups; the second of equal rewards."""
    source = torch.Generator().manual_seed(seed)
    ours, theirs = -spread * torch.rand(2, 6, 5, dtype=torch.float64, generator=source)
    mask = torch.rand(6, 5, generator=source) > 0.2
    reward = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64)
    return StepBatch(mask, ours, theirs, reward, GROUP, None, number)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0.01, 0.9), st.integers(0, 80), st.sampled_from([0.5, 30.0]))
def test_it_is_the_formula_token_by_token(seed: int, lam: float, bound: float, number: int, spread: float) -> None:
    objective = SelfDistilledPolicy(lam=lam, lam_end=0.1, lam_steps=40, weight_range=bound)
    step = step_of(seed, number, spread)
    found = objective.advantage(step)
    share = 0.1 + (lam - 0.1) * max(0.0, 1 - number / 40)
    assert step.reward is not None
    assert step.old_log_prob is not None
    assert step.teacher_log_prob is not None
    deviation = math.sqrt(2 / 9) + 1e-6
    for row in range(6):
        plain = (float(step.reward[row]) - 1 / 3) / deviation if row < 3 else 0.0
        for place in range(5):
            gain = float(step.teacher_log_prob[row, place] - step.old_log_prob[row, place])
            sign = (plain > 0) - (plain < 0)
            weight = min(max(math.exp(sign * gain), 1 - bound), 1 + bound)
            expected = plain * ((1 - share) + share * weight) if step.loss_mask[row, place] else 0.0
            assert float(found[row, place]) == pytest.approx(expected, rel=1e-12, abs=1e-15)
            assert math.copysign(1, float(found[row, place])) == math.copysign(1, expected) or expected == 0.0


@pytest.mark.parametrize("choices", [{"lam": 0.0}, {"lam": 0.7, "lam_steps": 3}])
def test_without_a_share_it_is_grpo_bit_for_bit(choices: dict[str, float]) -> None:
    objective = SelfDistilledPolicy(**choices)  # pyright: ignore[reportArgumentType]
    plain = GroupRelativePolicy()
    assert torch.equal(objective.advantage(step_of(1, 3)), plain.advantage(step_of(1, 3)))
    world = make_world(1)
    moved = dataclasses.replace(world, before=world.student.detach() + 0.3 * world.teacher)
    if not choices.get("lam_steps"):
        assert torch.equal(ask(objective, moved).value, ask(plain, moved).value)


def test_the_share_falls_along_a_line_and_stays() -> None:
    objective = SelfDistilledPolicy(lam=0.5, lam_end=0.1, lam_steps=4)
    assert [objective.share(n) for n in range(6)] == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1, 0.1])
    assert SelfDistilledPolicy(lam=0.3, lam_steps=None).share(999) == 0.3


def test_evidence_for_a_token_raises_right_responses_and_lowers_the_blame_of_wrong_ones() -> None:
    step = dataclasses.replace(step_of(2), loss_mask=torch.ones(6, 5, dtype=torch.bool))
    assert step.old_log_prob is not None
    told = dataclasses.replace(step, teacher_log_prob=step.old_log_prob + 0.1)
    found, plain = SelfDistilledPolicy(lam=1.0).advantage(told), GroupRelativePolicy().advantage(step)
    assert (found[0] > plain[0]).all()
    assert (found[1:3].abs() < plain[1:3].abs()).all()
    assert not found[3:].any()


def test_the_clip_has_two_sides() -> None:
    """A ratio of 1.25 is clipped at 1.2 and not at 1.28."""
    world = make_world(1)
    shift = torch.zeros_like(world.student).scatter(-1, world.tokens[..., None], -0.4)
    moved = dataclasses.replace(world, before=(world.student + shift).detach())
    values = [ask(GroupRelativePolicy(clip_range=0.2, clip_range_high=high), moved).value for high in (None, 0.2, 0.28)]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[1], values[2])


@pytest.mark.parametrize(
    "wrong",
    [{"lam": 1.5}, {"lam_end": -0.1}, {"lam_steps": 0}, {"weight_range": 0.0}, {"weight_range": 1.0},
     {"clip_range_high": 0.0}, {"clip_range": 1.5}],
)  # fmt: skip
def test_wrong_values_are_refused(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=rf"objective\.{name}="):
        SelfDistilledPolicy(**wrong)  # pyright: ignore[reportArgumentType]
