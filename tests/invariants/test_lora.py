"""Whole runs that train an adapter."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics

pytest.importorskip("peft")
ADAPTED = ("adapter=lora", "adapter.r=2", "steps=2", "checkpoint_every=1")


def test_a_resumed_run_is_the_run_that_was_never_stopped(
    train: Callable[..., Path], pair: list[str], tmp_path: Path
) -> None:
    whole = train("whole", *ADAPTED)
    half = halved(whole, "step-000001")
    assert main(["train", *merged(*pair, *ADAPTED, f"run_dir={half}", "resume=true")]) == 0
    assert metrics(whole) == metrics(half)
    name = "final/adapter_model.safetensors"
    assert (whole / name).read_bytes() == (half / name).read_bytes()
    shutil.rmtree(half)


def test_weights_of_sixteen_bits_are_not_trained(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ["train", *merged(*pair, "model.dtype=bfloat16", f"run_dir={tmp_path / 'run'}")]
    assert main(refused) == 2
    assert "model.dtype=bfloat16: weights of 16 bits lose" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
