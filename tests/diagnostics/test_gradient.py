"""Gradient variance from norms alone, against the gradients kept one by one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from opdkit.diagnostics import GradientVariance, Watched, named_subset


def _watched(*parameters: nn.Parameter) -> Watched:
    return Watched(parameters, parameters)


def contributions(model: nn.Module, parts: list[torch.Tensor]) -> list[torch.Tensor]:
    """The gradient that each part adds, flat."""
    found = []
    for part in parts:
        grads = torch.autograd.grad(loss_of(model, part), list(model.parameters()))
        found.append(torch.cat([g.flatten() for g in grads]))
    return found


def loss_of(model: nn.Module, part: torch.Tensor) -> torch.Tensor:
    return model(part).square().sum() / 24


def tied() -> nn.Module:
    """A model that uses one weight twice, as tied embeddings do."""
    torch.manual_seed(0)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(3, 3, dtype=torch.float64))
            self.bias = nn.Parameter(torch.randn(3, dtype=torch.float64))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.weight + self.bias).tanh() @ self.weight

    return Twice()


@pytest.mark.parametrize("sizes", [[6, 6, 6, 6], [2, 4, 12, 6]])
def test_variance_and_snr_equal_their_definitions(sizes: list[int]) -> None:
    model = tied()
    data = torch.randn(24, 3, dtype=torch.float64)
    parts = list(data.split(sizes))
    single = contributions(model, parts)
    count = len(parts)
    estimates = [count * c for c in single]
    mean = sum(estimates) / count
    variance = sum((g - mean).square().sum() for g in estimates) / count
    noise = variance * count / (count - 1) / count
    with GradientVariance(_watched(*model.parameters())) as watch:
        for part in parts:
            loss_of(model, part).backward()
            watch.closed()
    found = watch.result()
    assert found["grad_variance"] == pytest.approx(float(variance), rel=1e-9)
    assert found["grad_snr"] == pytest.approx(float((mean.square().sum() - noise) / noise), rel=1e-9)


def test_the_unbiased_form_is_unbiased() -> None:
    """Over many draws, signal / noise from the definition matches the population's."""
    torch.manual_seed(1)
    signal, noise = torch.tensor([3.0, -1.0], dtype=torch.float64), 2.0
    found_signal, found_noise = [], []
    for _ in range(4000):
        parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
        with GradientVariance(_watched(parameter)) as watch:
            for _ in range(4):
                gradient = signal + noise * torch.randn(2, dtype=torch.float64)
                ((parameter * gradient).sum() / 4).backward()
                watch.closed()
        numbers = watch.result()
        estimate = numbers["grad_variance"] / 3
        found_noise.append(estimate)
        found_signal.append(numbers["grad_snr"] * estimate)
    assert sum(found_noise) / 4000 == pytest.approx(2 * noise**2 / 4, rel=0.05)
    assert sum(found_signal) / 4000 == pytest.approx(10.0, rel=0.05)


def test_one_micro_batch_has_no_variance() -> None:
    model = tied()
    with GradientVariance(_watched(*model.parameters())) as watch:
        loss_of(model, torch.randn(4, 3, dtype=torch.float64)).backward()
        watch.closed()
    assert math.isnan(watch.result()["grad_variance"])


def test_hooks_are_gone_afterwards() -> None:
    model = tied()
    with GradientVariance(_watched(*model.parameters())) as watch:
        pass
    loss_of(model, torch.randn(4, 3, dtype=torch.float64)).backward()
    watch.closed()
    watch.closed()
    assert math.isnan(watch.result()["grad_variance"])


def test_a_subset_is_chosen_by_name() -> None:
    model = tied()
    assert named_subset(dict(model.named_parameters()), "^bias$") == ["bias"]
    assert len(named_subset(dict(model.named_parameters()), None)) == 2
