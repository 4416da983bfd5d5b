"""The page of bias and variance: what is unbiased comes out so, and training with it reaches the teacher."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "results"))
    module = importlib.import_module("objectives_exact")
    monkeypatch.setattr(module, "T", 2)
    monkeypatch.setattr(module, "STEPS", 20)
    return module


def test_only_estimates_of_the_reverse_kl_are_unbiased_and_a_sampled_token_adds_variance(script: Any) -> None:
    found = script.measured(1)
    for name in ("sampled", "vopd", "least_variance"):
        assert found[name]["bias"] < 1e-12
        assert found[name]["noise_scale"] > found["full_reverse_kl"]["noise_scale"]
    assert all(found[name]["bias"] > 0.05 for name in ("power_opd", "tv_opd", "topk, k = 3", "extrapolated, 1.25"))


def test_training_brings_the_student_nearer(script: Any) -> None:
    still, moved = (script.trained("sampled", 1, rate) for rate in (0.0, 2.0))
    assert moved < 0.5 * still
