"""Methods whose teacher is the student, told more than it is asked, through the real command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights

Train = Callable[..., Path]
GROUPS = ("batch.rollouts_per_prompt=4", "batch.prompts=2", "reward=function", "reward.function=parity.py:reward")


@pytest.fixture(autouse=True)
def parity(tmp_path: Path) -> None:
    """A reward that random responses differ in."""
    (tmp_path / "parity.py").write_text("def reward(problem, response, siblings):\n    return len(response) % 2\n")


def test_rlsd_without_a_share_is_grpo_bit_for_bit(train: Train) -> None:
    alike = [f"method.terms.student.objective.{key}" for key in ("clip_range_high=null", "dual_clip=null")]
    runs = {
        name: train(name, *GROUPS, "masking=none", "diagnostics=none", "vocabulary_metrics_every=0", *asked)
        for name, asked in {
            "grpo": ("method=grpo",),
            "none": ("method=rlsd", *alike, "method.terms.student.objective.lam=0"),
            "some": ("method=rlsd", *alike),
        }.items()
    }
    assert weights(runs["grpo"]) == weights(runs["none"])
    assert weights(runs["grpo"]) != weights(runs["some"])
    row = metrics(runs["some"])[1]
    assert 0.8 <= row["opd/token_weight"] <= 1.2
    assert 0 <= row["opd/weight_clipped"] <= 1


def test_rlsd_micro_batches_and_resuming(train: Train, pair: list[str]) -> None:
    asked = ("method=rlsd", *GROUPS, "method.terms.student.teacher.inner.every=2", "steps=3", "checkpoint_every=1")
    whole, parts = train("whole", *asked, "keep_checkpoints=9"), train("parts", *asked, "batch.micro_batch=2")
    for name in ("train/loss", "train/grad_norm"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4, abs=1e-6)
    half = halved(whole, "step-000001")
    assert main(["train", *merged(*pair, *asked, "keep_checkpoints=9", f"run_dir={half}", "resume=true")]) == 0
    assert weights(half) == weights(whole)


@pytest.mark.parametrize("method", ["grpo", "rlsd"])
def test_a_group_of_one_is_refused(
    method: str, pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (f"method={method}", "batch.rollouts_per_prompt=1", "batch.mini_batch=4")
    assert main(["train", *merged(*pair, "run_dir=run", *asked)]) == 2
    error = capsys.readouterr().err
    assert "batch.rollouts_per_prompt=1" in error
    assert error.count("\n") == 1
