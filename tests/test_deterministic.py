"""What `deterministic=true` does: on a CPU nothing, on a GPU a run repeats bit for bit."""

from __future__ import annotations

from contextlib import suppress

import pytest
import torch

from opdkit import device


def test_on_a_cpu_nothing_is_switched(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with device.in_fixed_order(True):
        assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("wanted", [True, False])
def test_on_a_gpu_it_holds_inside_and_not_after(monkeypatch, wanted):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with suppress(ZeroDivisionError), device.in_fixed_order(wanted):
        assert torch.are_deterministic_algorithms_enabled() == wanted
        _ = 1 // 0
    assert not torch.are_deterministic_algorithms_enabled()


def test_a_caller_that_wants_it_everywhere_keeps_it(monkeypatch):
    monkeypatch.delenv("ACCELERATE_USE_CPU", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    torch.use_deterministic_algorithms(True)
    try:
        with device.in_fixed_order(True):
            pass
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
