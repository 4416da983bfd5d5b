"""Both terms of method=brts as its yaml has them: each moves with the teacher, and neither sign may be turned."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.training.term import Term
from tests.objectives.members import ids_of, inside, kl
from tests.objectives.worlds import K, World, ask, make_world

SEEDS = range(4)


@pytest.fixture(scope="module")
def terms() -> dict[str, Term]:
    overrides = [
        "method=brts", f"method.terms.student.objective.k={K}", f"method.terms.teacher.objective.k={K}",
    ]  # fmt: skip
    source = Source("train")
    experiment = build_experiment(compose(source, overrides), Origin(overrides, {"method": "brts"}, source.folders))
    return dict(experiment.method.terms)


def by_hand(name: str, world: World) -> Tensor:
    """KL(student || teacher) on the student's best ids; KL(teacher || student) on the teacher's."""
    total = world.student.new_zeros(())
    for row, place in world.mask.nonzero().tolist():
        p, q = world.student[row, place].softmax(-1), world.teacher[row, place].softmax(-1)
        support = ids_of(world.old[row, place] if name == "student" else world.teacher[row, place])
        ours, theirs = inside(p, support), inside(q, support)
        total = total + (kl(ours, theirs) if name == "student" else kl(theirs, ours))
    return total


def gradient(loss: Tensor, world: World) -> Tensor:
    (found,) = torch.autograd.grad(loss, world.student)
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["student", "teacher"])
def test_each_term_is_its_divergence_and_moves_with_the_teacher(terms: dict[str, Term], name: str, seed: int) -> None:
    world, objective = make_world(seed), terms[name].objective
    found = gradient(ask(objective, world).value.sum(), world)
    torch.testing.assert_close(found, gradient(by_hand(name, world), world), rtol=1e-9, atol=1e-11)
    turned = -by_hand(name, world)
    assert not torch.allclose(found, gradient(turned, world), rtol=1e-3)
    other = dataclasses.replace(world, teacher=world.teacher.flip(-1))
    assert (gradient(ask(objective, other).value.sum(), other) - found).abs().max() > 1e-3


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_a_step_along_each_term_brings_the_student_nearer(terms: dict[str, Term], name: str) -> None:
    """Its own divergence falls; with either sign turned it would rise."""
    world = make_world(5)
    step = gradient(ask(terms[name].objective, world).value.sum(), world)

    def after(size: float) -> float:
        moved = dataclasses.replace(
            world, student=(world.student - size * step).detach().requires_grad_(), before=world.old
        )
        return float(by_hand(name, moved).detach())

    assert after(0.05) < after(0.0) < after(-0.05)


def test_authors_and_weights(terms: dict[str, Term]) -> None:
    assert [(name, term.author, term.weight) for name, term in terms.items()] == [
        ("student", "student", 1.0), ("teacher", "teacher", 10.0),
    ]  # fmt: skip
