from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from opdkit.errors import UserError
from opdkit.functional.surrogates import Clipped, Ratio, Score

EACH = pytest.mark.parametrize("surrogate", [Score(), Ratio(), Clipped(), Clipped(0.1, 3.0)], ids=str)


def _three(seed: int = 0):
    source = torch.Generator().manual_seed(seed)
    log_prob, old, advantage = torch.randn(3, 4, 5, dtype=torch.float64, generator=source).unbind()
    return log_prob.requires_grad_(), old, advantage


@EACH
def test_while_the_student_has_not_moved_the_gradient_is_minus_the_advantage(surrogate):
    log_prob, _, advantage = _three()
    surrogate(log_prob, log_prob.detach(), advantage).sum().backward()
    torch.testing.assert_close(log_prob.grad, -advantage)


@EACH
def test_by_finite_differences(surrogate):
    log_prob, _, advantage = _three()
    old = log_prob.detach() + 0.05
    assert gradcheck(lambda x: surrogate(x, old, advantage), (log_prob,))


def test_a_moved_student_is_weighed_by_its_ratio():
    log_prob, old, advantage = _three()
    Ratio()(log_prob, old, advantage).sum().backward()
    torch.testing.assert_close(log_prob.grad, -advantage * (log_prob.detach() - old).exp())


def test_only_the_plain_score_is_for_one_update():
    assert Score().single_update
    assert not any(one.single_update for one in (Ratio(), Clipped()))


@pytest.mark.parametrize(("key", "value"), [("clip_range", 0.0), ("clip_range", 1.0), ("dual_clip", 1.0)])
def test_refuses_what_is_out_of_range(key, value):
    with pytest.raises(UserError, match=rf"objective\.surrogate\.{key}={value}"):
        Clipped(**{key: value})
