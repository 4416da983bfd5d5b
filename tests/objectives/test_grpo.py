from __future__ import annotations

import torch

from opdkit.objectives.grpo import GroupRelativePolicy
from tests.objectives.worlds import ask, make_world


def test_the_penalty_is_the_third_estimate_of_the_divergence_from_the_teacher():
    """kl_weight (q/p - 1 - log q/p) at each counted token, whose gradient is (1 - q/p) times that of log p."""
    world = make_world(4)
    picked = world.tokens.unsqueeze(-1)
    log_p, log_q = (logits.log_softmax(-1).gather(-1, picked)[..., 0] for logits in (world.student, world.teacher))
    ratio = (log_q - log_p).exp().detach()
    plain, penalised = (ask(GroupRelativePolicy(kl_weight=weight), world).value for weight in (0.0, 0.3))
    wanted = torch.where(world.mask, 0.3 * (ratio - 1.0 - ratio.log()), 0.0)
    torch.testing.assert_close(penalised - plain, wanted)
    found = torch.autograd.grad((penalised - plain).sum(), world.student)[0]
    score = torch.where(world.mask, 0.3 * (1.0 - ratio) * log_p, 0.0).sum()
    torch.testing.assert_close(found, torch.autograd.grad(score, world.student)[0])
