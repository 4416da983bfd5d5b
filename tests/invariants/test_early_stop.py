"""Runs that end where a metric no longer improves, and keep the student of its best step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights

Train = Callable[..., Path]
# The learning rate is far too high: the loss of a tiny pair is soon no better than it was.
LONG = ("steps=9", "checkpoint_every=1", "keep_checkpoints=9", "optim.lr=0.5", "optim.schedule=constant")
STOP = ("early_stop.metric=train/loss", "early_stop.mode=min", "early_stop.patience=2")
KEEP = ("keep_best.metric=train/loss", "keep_best.mode=min")


def _ends(losses: list[float], patience: int = 2) -> int:
    """The step after which a run stops: the patience is used up."""
    best = 0
    for step, loss in enumerate(losses):
        best = step if loss < losses[best] else best
        if step - best == patience:
            return step + 1
    raise AssertionError(losses)


def test_it_stops_keeps_the_best_goes_on_bit_equal_and_says_so(
    train: Train, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = train("whole", *LONG)
    losses = [row["train/loss"] for row in metrics(whole) if "train/loss" in row]
    ends = _ends(losses)
    best = losses.index(min(losses[:ends])) + 1
    assert ends < 9
    capsys.readouterr()
    folder = train("early", *LONG, *STOP, *KEEP)
    said = " ".join(capsys.readouterr().out.split())
    assert f"stopped early at step {ends} of 9: train/loss did not improve on" in said
    assert f"(step {best}: train/loss" in said
    assert [row["train/loss"] for row in metrics(folder) if "train/loss" in row] == losses[:ends]
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["best"]["step"], summary["stopped_early"]["since"]) == (ends, best, 2)
    kept = folder / "best" / "model.safetensors"
    assert kept.read_bytes() == (whole / f"checkpoints/step-{best:06d}/model.safetensors").read_bytes()
    assert "the best so far (min)" in (folder / "best" / "README.md").read_text()
    assert weights(folder) == (whole / f"checkpoints/step-{ends:06d}/model.safetensors").read_bytes()

    # Cut off between two readings, it ends at the same step with the same student.
    half = halved(folder, f"step-{ends - 1:06d}")
    shutil.rmtree(half / "best")
    shutil.copytree(folder / "best", half / "best")
    again = ["train", *merged(*pair, *LONG, *STOP, *KEEP, "run_dir=half", "resume=true")]
    assert main(again) == 0
    assert metrics(half) == metrics(folder)
    assert weights(half) == weights(folder)
    assert json.loads((half / "summary.json").read_text())["best"] == {
        **summary["best"], "folder": "half/best",
    }  # fmt: skip
    capsys.readouterr()
    assert main(again) == 0
    assert "is complete: it stopped early" in " ".join(capsys.readouterr().out.split())

    # Without the early stop it goes on to the end, as if it had never stopped.
    assert main([*(w for w in again if not w.startswith("early_stop")), "early_stop.metric=null"]) == 0
    assert f"it had stopped early after {ends} steps and now has up to 9" in " ".join(capsys.readouterr().out.split())
    assert weights(half) == weights(whole)


def test_by_an_evaluation_whose_answers_are_taken_for_the_last(
    train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    metric = "eval/chain_sum/pass@1"  # random weights: 0 at every step
    folder = train(
        "early",
        *LONG,
        "eval_every=2",
        f"early_stop.metric={metric}",
        "early_stop.patience=1",
        f"keep_best.metric={metric}",
    )
    summary = json.loads((folder / "summary.json").read_text())
    assert (summary["steps"], summary["best"]["step"], summary["best"]["value"]) == (4, 2, 0.0)
    name = "chain_sum.responses.jsonl"
    assert (folder / "evals" / name).read_bytes() == (folder / "evals/step-000004" / name).read_bytes()
    assert summary["after"]["n_problems"] == 4


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["early_stop.metric=eval/chain_sum/pas@1", "eval_every=1"], "(did you mean eval/chain_sum/pass@1?)"),
        (["keep_best.metric=eval/chain_sum/pass@1"], "eval_every=0 evaluates only at the end"),
        (["early_stop.mode=most"], "early_stop.mode=most: no such mode; allowed: max, min"),
        (["early_stop.patience=0"], "early_stop.patience=0: must be at least 1"),
        (["early_stop.min_delta=-1"], "early_stop.min_delta=-1.0: must be at least 0"),
        (["keep_best=train/loss"], "keep_best=train/loss: it has keys of its own: keep_best.metric, keep_best.mode"),
        (["early_stop.metrics=a"], "early_stop.metrics"),
    ],
)
def test_what_they_take(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *typed]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_a_metric_that_a_step_does_not_have_is_told_after_the_first(
    pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *merged(*pair, "run_dir=wrong", "early_stop.metric=train/lost")]) == 2
    assert "early_stop.metric=train/lost: step 1 has no such metric" in capsys.readouterr().err
