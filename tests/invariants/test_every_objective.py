"""Every option of objective= runs through the real command, with the same loop and no case of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.config import location
from tests.invariants.conftest import metrics

Train = Callable[..., Path]

NAMES = sorted(location.options("objective", [location.conf_dir()]))


@pytest.mark.parametrize("name", NAMES)
def test_it_trains(name: str, train: Train) -> None:
    folder = train(name, f"objective={name}", "steps=2", "batch.epochs=2")  # the second pass from a moved student
    lines = metrics(folder)[1:]
    assert lines
    assert all(math.isfinite(line["train/loss"]) and math.isfinite(line["train/grad_norm"]) for line in lines)
    assert lines[-1]["train/skipped_updates"] == 0
