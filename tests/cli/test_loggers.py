"""Several loggers at once on the command line."""

from __future__ import annotations

from tests.cli.conftest import Opdkit


def test_several_loggers_at_once_on_the_command_line(opdkit: Opdkit) -> None:
    shown = opdkit("train", "logger=[wandb,tensorboard,mlflow]", "--cfg", "job")
    assert shown.status == 0, shown.err
    named = [line.strip() for line in shown.out.splitlines() if "opdkit.loggers" in line]
    assert named == [f"_target_: opdkit.loggers.{name}" for name in ("WandB", "TensorBoard", "MLflow")]
    wrong = opdkit("train", "logger=[wandb,tensorbord]")
    assert (wrong.status, wrong.err.count("\n")) == (2, 1)
    assert "tensorbord" in wrong.err
    assert "did you mean tensorboard" in wrong.err
