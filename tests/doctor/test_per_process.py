"""What the doctor says that a process holds, against what processes hold, and against a model's shapes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import torch

from opdkit.doctor.per_process import held
from tests import divided
from tests.ranks import environment, torchrun
from tests.tiny import tiny_model

WIDE = divided.WIDE


def _in_processes(count: int, folder: Path) -> list[dict[str, int]]:
    told = folder / "told.json"
    done = subprocess.run(
        torchrun(count, divided.__file__, str(told)), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text())


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_it_tells_what_the_processes_hold(tmp_path: Path, count: int) -> None:
    model = tiny_model(0, **WIDE)
    expected, total = held(model, count, None), sum(4 * p.numel() for p in model.module.parameters())
    for found in _in_processes(count, tmp_path):
        assert found["weights"] == found["gradients"] == pytest.approx(expected.part, rel=0.01)
        assert found["moments"] == pytest.approx(2 * expected.part, rel=0.01)
        assert found["weights"] == pytest.approx(total / count, rel=0.1)
        assert found["root"] == expected.root
        assert found["layers"] == pytest.approx((total - expected.root) / count, rel=0.1)
        assert found["whole"] == expected.whole == total


def test_a_layer_and_the_root_are_told_in_what_they_compute_in() -> None:
    model = tiny_model(0, tie_word_embeddings=False, **WIDE)
    full, half = held(model, 8, None), held(model, 8, torch.bfloat16)
    layer = sum(p.numel() for p in model.module.model.layers[0].parameters())
    assert (full.layer, half.layer) == (4 * layer, 2 * layer)
    assert full.root == 4 * (2 * 264 * 64 + 64)
    assert half.root * 2 == full.root
    assert half.part == full.part  # weights stay in float32
    assert held(model, 1, torch.bfloat16).part == 4 * sum(p.numel() for p in model.module.parameters())
