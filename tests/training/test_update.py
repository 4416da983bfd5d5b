"""What an optimiser step does with scored rows: ratios, the norm of gradients, denominators."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from opdkit import device
from opdkit.data.micro_batches import MicroBatch
from opdkit.diagnostics import TokenMeans, Watched
from opdkit.training.policy import Policy
from opdkit.training.update import ScoredBatch, Updater
from opdkit.world.world import World


@pytest.mark.parametrize(("collected", "kept"), [(1, False), (2, True), ("stale", True)], indirect=["collected"])
def test_ratios_of_a_later_update_are_taken_against_the_policy_that_wrote(
    collected: ScoredBatch, kept: bool, policy: Policy
) -> None:
    assert (collected.old_log_prob is not None) == kept
    updater = Updater(policy, World(), None, MicroBatch(4), Watched())
    seen: list[Tensor] = []

    class Watching(TokenMeans):
        def add(self, metrics: dict[str, Tensor], mask: Tensor) -> None:
            if "importance_ratio" in metrics:
                seen.append(metrics["importance_ratio"][mask])

    updater.step([collected], 1e-2, Watching())
    updater.step([collected], 1e-2, Watching())
    first, second = seen
    torch.testing.assert_close(first, torch.ones_like(first), rtol=1e-5, atol=0)
    if kept:
        assert float((second - 1).abs().max()) > 1e-2
    else:
        torch.testing.assert_close(second, torch.ones_like(second), rtol=1e-5, atol=0)


@pytest.mark.parametrize("collected", [1], indirect=True)
def test_gradients_are_scaled_down_to_the_norm_that_is_allowed(collected: ScoredBatch, policy: Policy) -> None:
    """By plain gradient descent, whose step is as long as the gradient."""
    parameters = list(policy.model.module.parameters())
    descent = replace(policy, optimizer=torch.optim.SGD(parameters, lr=1.0))  # pyright: ignore[reportArgumentType]
    before = torch.cat([p.detach().flatten() for p in parameters])
    updater = Updater(descent, World(), 0.01, MicroBatch(4), Watched())
    norm = updater.step([collected], 1e-2, TokenMeans())["grad_norm"]
    moved = float((torch.cat([p.detach().flatten() for p in parameters]) - before).norm())
    assert norm > 0.02
    assert moved == pytest.approx(1e-2 * 0.01, rel=1e-2)


@pytest.mark.parametrize("collected", [1], indirect=True)
def test_a_term_of_several_tasks_has_one_denominator(collected: ScoredBatch, policy: Policy) -> None:
    updater = Updater(policy, World(), None, MicroBatch(4), Watched())
    assert updater.denominators([collected, collected.rows(0, 1)]) == {"term": 7.0 + 5.0}


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("collected", [1], indirect=True)
def test_backward_passes_on_a_gpu_add_up_in_one_order_where_asked(
    collected: ScoredBatch, policy: Policy, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "uses_cuda", lambda: True)
    parameter = next(policy.model.module.parameters())
    seen: list[bool] = []
    hook = parameter.register_hook(lambda _: seen.append(torch.are_deterministic_algorithms_enabled()))
    Updater(policy, World(), None, MicroBatch(4), Watched(), wanted).step([collected], 1e-2, TokenMeans())
    hook.remove()
    assert set(seen) == {wanted}
    assert not torch.are_deterministic_algorithms_enabled()
