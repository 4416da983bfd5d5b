"""Every option of objective=, built from its yaml and asked as the loop asks, against its paper's formula."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from opdkit.cli.check import placeholders
from opdkit.config import location
from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.data.loss import Objective
from tests.objectives.members import LOCAL, POLICY, local_loss
from tests.objectives.worlds import K, World, ask, make_world

NAMES = sorted(location.options("objective", [location.conf_dir()]))
each = pytest.mark.parametrize("name", NAMES)


def build(name: str) -> Objective:
    source = Source("train")
    shorthand = [f"k={K}"] if "select:k" in (location.conf_dir() / f"objective/{name}.yaml").read_text() else []
    overrides = [f"objective={name}", *shorthand, *placeholders([f"objective={name}"], source.folders)]
    config = compose(source, overrides)
    return build_experiment(config, Origin(overrides, {"objective": name}, source.folders)).objective


@pytest.fixture(scope="module")
def objectives() -> dict[str, Objective]:
    return {name: build(name) for name in NAMES}


def _gradient(objective: Objective, world: World) -> Tensor:
    (gradient,) = torch.autograd.grad(ask(objective, world).value.sum(), world.student)
    return gradient


def test_every_option_has_its_formula_here():
    assert {*LOCAL, *POLICY} == {*NAMES}


@each
@pytest.mark.parametrize("seed", range(6))
def test_gradient_is_that_of_the_formula(objectives, name, seed):
    world = make_world(seed)
    reference = local_loss(name, world) if name in LOCAL else POLICY[name](world)
    (expected,) = torch.autograd.grad(reference, world.student)
    torch.testing.assert_close(_gradient(objectives[name], world), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", sorted(LOCAL))
def test_value_is_that_of_the_formula(objectives, name):
    world = make_world(1)
    found = ask(objectives[name], world).value
    torch.testing.assert_close(found.sum(), local_loss(name, world), rtol=1e-9, atol=1e-11)
    assert not found[~world.mask].any()


@each
def test_a_student_that_is_the_teacher_learns_nothing(objectives, name):
    world = make_world(2)
    same = dataclasses.replace(world, teacher=world.student.detach().clone())
    gradient = _gradient(objectives[name], same)
    if name in ("grpo", "mopd", "rlsd", "topk_unnormalised", "ema_pg_teacher", "ema_pg_student", "topk_sampled_tail"):
        # GRPO asks no teacher, RLSD without evidence is GRPO, MOPD adds its reward. The others have the gradient of the
        # mass on the support beside it; in the last the tail takes it back, but in the mean only
        # (tests/invariants/test_estimators.py).
        assert gradient.abs().max() > 1e-3
        return
    assert gradient.abs().max() < 1e-12


@pytest.mark.parametrize("name", sorted({*NAMES} - {"grpo"}))
def test_gradient_moves_with_the_teacher_and_does_not_reach_it(objectives, name):
    world = make_world(3, spread=0.1 if name == "rlsd" else 1.5)  # its weights are bounded
    moved = dataclasses.replace(world, teacher=(2.0 * world.teacher.flip(-1)).requires_grad_())
    assert (_gradient(objectives[name], world) - _gradient(objectives[name], moved)).abs().max() > 1e-3
    ask(objectives[name], moved).value.sum().backward()
    assert moved.teacher.grad is None


@each
def test_uncounted_positions_are_not_felt(objectives, name):
    world = make_world(4)
    junk = torch.where(world.mask[..., None], world.teacher, torch.nan)
    torch.testing.assert_close(
        _gradient(objectives[name], world), _gradient(objectives[name], dataclasses.replace(world, teacher=junk))
    )
    assert not _gradient(objectives[name], world)[~world.mask].any()


@each
def test_rows_do_not_see_one_another(objectives, name):
    """The order of rows changes nothing (what looks across the step is handed in, and is tested on its own)."""
    if objectives[name].needs.advantage:
        pytest.skip("asked once on the whole step")
    world = make_world(5)
    order = torch.tensor([2, 0, 1])
    fields = {field.name: getattr(world, field.name) for field in dataclasses.fields(world)}
    turned = World(**{key: value if value is None else value[order] for key, value in fields.items()})
    torch.testing.assert_close(ask(objectives[name], turned).value, ask(objectives[name], world).value[order])


@each
def test_a_moved_student_keeps_its_supports_and_stays_finite(objectives, name):
    """Second update on a rollout batch: the student has moved away from the one that wrote."""
    world = make_world(6)
    moved = dataclasses.replace(world, before=world.student.detach() + 0.3 * world.teacher)
    gradient = _gradient(objectives[name], moved)
    assert gradient.isfinite().all()
    if name in LOCAL and "tail" not in name and "ema_pg" not in name:
        (expected,) = torch.autograd.grad(local_loss(name, moved), moved.student)
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


def test_raises_what_the_teacher_prefers(objectives):
    """A uniform student, a teacher with one favourite: minus the gradient is largest there."""
    for name in sorted({*LOCAL} - {"uld"}):  # sorted probabilities have no names
        world = make_world(0)
        teacher = torch.zeros_like(world.teacher)
        teacher[..., 2] = 3.0
        tokens = torch.full_like(world.tokens, 2)
        flat = dataclasses.replace(
            world, student=torch.zeros_like(world.teacher).requires_grad_(), teacher=teacher, tokens=tokens
        )
        push = -_gradient(objectives[name], flat)[flat.mask]
        assert (push.argmax(-1) == 2).all(), name
