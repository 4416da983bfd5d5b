"""Learning-rate schedules and what the optimiser refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from opdkit.errors import UserError
from opdkit.training.optimizer import AdamW


def test_warm_up_rises_to_the_peak_and_each_schedule_ends_where_it_says() -> None:
    spec = AdamW(lr=1.0, warmup_steps=4, schedule="linear", min_lr_ratio=0.1)
    assert [spec.lr_at(s, 104) for s in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert spec.lr_at(54, 104) == pytest.approx(0.55)
    assert spec.lr_at(104, 104) == pytest.approx(0.1)
    cosine = AdamW(lr=1.0, schedule="cosine")
    assert cosine.lr_at(25, 100) == pytest.approx(0.8535534)
    assert cosine.lr_at(75, 100) == pytest.approx(0.1464466)
    assert {AdamW(lr=0.5).lr_at(s, 9) for s in range(9)} == {0.5}


@pytest.mark.parametrize(
    "wrong", [{"lr": 0.0}, {"schedule": "step"}, {"warmup_steps": -1}, {"min_lr_ratio": 2.0}, {"clip_norm": 0.0}]
)
def test_wrong_values_are_refused(wrong: dict) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        AdamW(**wrong)


def test_the_fused_optimiser_takes_the_textbook_step() -> None:
    spec = AdamW(lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5)
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = spec.build([parameter])
    expected, first, second = parameter.detach().clone(), torch.zeros(2).double(), torch.zeros(2).double()
    for step, gradient in enumerate(([0.3, -4.0], [1.0, 0.5]), start=1):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        first = 0.9 * first + 0.1 * parameter.grad
        second = 0.99 * second + 0.01 * parameter.grad**2
        expected -= 0.1 * 0.5 * expected
        expected -= 0.1 * (first / (1 - 0.9**step)) / ((second / (1 - 0.99**step)).sqrt() + 1e-8)
    torch.testing.assert_close(parameter.detach(), expected, rtol=1e-12, atol=0.0)
    assert optimizer.defaults["fused"]
