"""Other projects' losses on our inputs, against the formula and against ours: what is measured beside us is what it is
said to be."""

from __future__ import annotations

import importlib

import pytest
import torch

from benchmarks import updates
from benchmarks.contestants import CONTESTANTS
from benchmarks.given import inputs
from benchmarks.meter import Effort
from benchmarks.shapes import HeadShape, UpdateShape

SHAPE = HeadShape(positions=24, vocabulary=300, width=8, k=8)
SMALL = UpdateShape(
    vocabulary=300, width=16, layers=2, heads=2, key_value_heads=1, intermediate=32, batch=2, prompt=4, response=12, k=8
)


def factory(name):
    contestant = CONTESTANTS[name]
    if contestant.package:
        pytest.importorskip(contestant.package)
    module, _, function = contestant.factory.partition(":")
    return importlib.import_module(module), function


def reverse_kl_and_gradients():
    """Mean reverse KL over the whole vocabulary and its gradients, in float64."""
    given = inputs(SHAPE)
    hidden, weight = (leaf.detach().double().requires_grad_() for leaf in given.leaves())
    student = (hidden @ weight.T).log_softmax(-1)
    teacher = (given.teacher_hidden.double() @ given.teacher_weight.double().T).log_softmax(-1)
    loss = (student.exp() * (student - teacher)).sum(-1).mean()
    return loss.detach(), *torch.autograd.grad(loss, (hidden, weight))


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["trl_head", "gkd_head", "liger_head"])
def test_a_peers_full_vocabulary_loss_and_gradients_equal_the_formula(name, monkeypatch):
    check_head(name, monkeypatch)


def test_our_full_vocabulary_loss_and_gradients_equal_the_formula(monkeypatch):
    check_head("opdkit_full_head", monkeypatch)


def check_head(name, monkeypatch):
    module, function = factory(name)
    seen = []

    def run_head(given, loss, effort):
        value = loss()
        value.backward()
        seen.extend([value.detach(), *(leaf.grad for leaf in given.leaves())])

    monkeypatch.setattr(module, "run_head", run_head)
    getattr(module, function)(SHAPE, Effort(1))
    for found, expected in zip(seen, reverse_kl_and_gradients(), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.peer
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("trl_update", updates.full_update),
        ("gkd_update", updates.full_update),
        ("gold_update", updates.full_update),
        ("iw_opd_update", updates.full_update),
        ("iw_opd_topk", updates.student_bucket_update),
    ],
)
def test_a_trainers_first_loss_is_ours(name, ours):
    module, function = factory(name)
    found = getattr(module, function)(SMALL, Effort(1)).losses[0]
    assert found == pytest.approx(ours(SMALL, Effort(1)).losses[0], rel=1e-3)


@pytest.mark.parametrize("name", ["opdkit_update", "opdkit_sampled_update", "opdkit_step", "body_update"])
def test_our_updates_lower_their_loss(name):
    module, function = factory(name)
    losses = getattr(module, function)(SMALL, Effort(2)).losses
    assert len(losses) == 4
    assert losses[-1] < losses[0]


def test_the_usual_way_to_top_k_has_our_loss():
    module, function = factory("logits_update")
    usual = getattr(module, function)(SMALL, Effort(1)).losses[0]
    assert usual == pytest.approx(updates.topk_update(SMALL, Effort(1)).losses[0], rel=1e-3)
