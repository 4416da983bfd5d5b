"""Other projects' losses on our inputs, against the formula: what is measured beside us is what it is said to be."""

from __future__ import annotations

import pytest
import torch

from opdkit.bench.cases import HeadShape
from opdkit.bench.given import inputs

pytestmark = [pytest.mark.peer, pytest.mark.filterwarnings("ignore")]
SHAPE = HeadShape(positions=24, vocabulary=300, width=8, k=8)


def reverse_kl_and_gradients():
    """Mean reverse KL over the whole vocabulary and its gradients, in float64."""
    given = inputs(SHAPE)
    hidden, weight = (leaf.detach().double().requires_grad_() for leaf in given.leaves())
    student = (hidden @ weight.T).log_softmax(-1)
    teacher = (given.teacher_hidden.double() @ given.teacher_weight.double().T).log_softmax(-1)
    loss = (student.exp() * (student - teacher)).sum(-1).mean()
    return loss.detach(), *torch.autograd.grad(loss, (hidden, weight))


@pytest.mark.parametrize(
    ("peer", "package"), [("chunked_head", "trl"), ("gkd_head", "trl"), ("liger_head", "liger_kernel")]
)
def test_a_peers_full_vocabulary_loss_and_gradients_equal_the_formula(peer, package, monkeypatch):
    pytest.importorskip(package)
    from opdkit.bench import peers

    seen = []

    def run_head(given, loss, count):
        value = loss()
        value.backward()
        seen.extend([value.detach(), *(leaf.grad for leaf in given.leaves())])

    monkeypatch.setattr(peers, "run_head", run_head)
    getattr(peers, peer)(SHAPE, 1)
    for found, expected in zip(seen, reverse_kl_and_gradients(), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)
