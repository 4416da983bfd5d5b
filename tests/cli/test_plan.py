"""`opdkit train --dry-run`: the plan, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit


def test_the_plan_is_told_and_nothing_is_written(opdkit: Opdkit, tmp_path: Path) -> None:
    told = opdkit("train", "--dry-run", "steps=20", "eval_every=5", "run_dir=runs/mine")
    assert told.status == 0, told.err
    lines = {line[:11].strip(): line[12:] for line in told.out.splitlines()}
    assert lines["student"] == "embedded/student, 0.5 M parameters in float32, 2.0 MiB"
    assert lines["teacher"].startswith("embedded/teacher, 0.5 M parameters")
    assert lines["memory"].startswith("at least 10 MiB: weights 4, gradients and optimiser 6")
    assert lines["task"] == "chain_sum, prompts up to 128 tokens, responses up to 160; benchmark chain_sum"
    assert lines["a step"].startswith("64 rollouts (64 prompts x 1), 8 updates of 16 rollouts")
    assert lines["steps"] == "20: 1,280 rollouts, 160 updates"
    assert lines["evaluations"] == "before and after, the teacher once, 3 in between"
    assert lines["files"].startswith("runs/mine/: config.yaml")
    assert list(tmp_path.iterdir()) == []


def test_values_of_hydra_are_found(opdkit: Opdkit) -> None:
    told = opdkit("train", "--dry-run", "run_dir=runs/${hydra:runtime.choices.objective}")
    assert told.status == 0, told.err
    assert "runs/topk/: config.yaml" in told.out


@pytest.mark.parametrize("typed", ["kk=3", "steps=0", "model.path=./gone", "k=1,2"])
def test_what_train_refuses_is_refused(typed: str, opdkit: Opdkit) -> None:
    told = opdkit("train", "--dry-run", typed)
    assert told.status == 2
    assert told.err.count("\n") == 1
