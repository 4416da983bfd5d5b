"""The same logits through TRL's losses: full-vocabulary forward, reverse and JSD; student top-K with a tail bucket."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opdkit.functional.divergences import Divergence, ForwardKL, JensenShannon, ReverseKL
from opdkit.objectives import TokenDivergence
from tests.objectives.worlds import K, World, ask, make_world

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]


def _full_mask() -> World:
    world = make_world(3)
    return dataclasses.replace(world, mask=torch.ones_like(world.mask))


def _close(ours: torch.Tensor, theirs: torch.Tensor, world: World) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-8)
    mine, other = (torch.autograd.grad(value.sum(), world.student, retain_graph=True)[0] for value in (ours, theirs))
    torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    ("beta", "divergence"),
    [(0.0, ForwardKL()), (0.5, JensenShannon(0.5)), (0.2, JensenShannon(0.2)), (1.0, ReverseKL())],
)
def test_full_vocabulary_equals_gkd(beta: float, divergence: Divergence) -> None:
    gkd = pytest.importorskip("trl.experimental.gkd.gkd_trainer")
    world = _full_mask()
    theirs = gkd.GKDTrainer.generalized_jsd_loss(world.student, world.teacher, beta=beta, reduction="none")
    _close(ask(TokenDivergence(divergence=divergence, support="full"), world).value, theirs.sum(-1), world)


@pytest.mark.parametrize(("beta", "divergence"), [(0.0, ForwardKL()), (0.5, JensenShannon(0.5)), (1.0, ReverseKL())])
def test_student_top_k_with_a_bucket_equals_iw_opds(beta: float, divergence: Divergence) -> None:
    iw_opd = pytest.importorskip("trl.experimental.iw_opd.iw_opd_trainer")
    world = _full_mask()
    ids = world.student.detach().topk(K).indices
    parts = [one.log_softmax(-1).gather(-1, ids) for one in (world.student, world.teacher)]
    tailed = [iw_opd._add_tail_bucket(part, torch.ones_like(ids).bool()) for part in parts]
    theirs = iw_opd._jsd_divergence(tailed[0][0], tailed[1][0], beta, support_mask=tailed[0][1])
    objective = TokenDivergence(divergence=divergence, support="student", k=K, tail="bucket")
    _close(ask(objective, world).value, theirs.sum(-1), world)
