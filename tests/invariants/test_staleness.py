"""Steps that are collected ahead: by which weights, corrected by which ratio, and after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import merged, metrics, weights

Train = Callable[..., Path]
RUN = ("steps=4", "checkpoint_every=1", "keep_checkpoints=9", "objective=sampled", "optim.lr=3e-2", "benchmark.limit=1")


def written(folder: Path) -> list[list[str]]:
    """What was said at each step."""
    steps: dict[int, list[str]] = {}
    for line in (folder / "samples.jsonl").read_text().splitlines():
        row: dict[str, Any] = json.loads(line)
        steps.setdefault(row["step"], []).append(row["response"])
    return [steps[step] for step in sorted(steps)]


@pytest.mark.parametrize(("staleness", "left"), [(1, 2), pytest.param(2, 1, marks=pytest.mark.slow)])
def test_a_run_that_was_cut_goes_on_as_if_it_never_was(
    train: Train, pair: list[str], tmp_path: Path, staleness: int, left: int
) -> None:
    asked = (*RUN, f"max_staleness={staleness}")
    whole = train("whole", *asked)
    told = metrics(whole)
    assert [row["rollout/staleness"] for row in told if "rollout/staleness" in row] == [
        float(min(step, staleness)) for step in range(4)
    ]
    cut = tmp_path / "cut"
    shutil.copytree(whole, cut)
    shutil.rmtree(cut / "final")
    (cut / "summary.json").unlink()
    for step in range(left + 1, 5):
        shutil.rmtree(cut / "checkpoints" / f"step-{step:06d}")
    assert main(["train", *merged(*pair, *asked, "run_dir=cut", "resume=true")]) == 0
    assert metrics(cut) == told
    assert weights(cut) == weights(whole)
    assert (cut / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()


def test_a_step_is_written_by_the_weights_of_the_step_before_and_corrected(train: Train) -> None:
    two = (*RUN, "steps=2", "checkpoint_every=0")
    newest, older = train("newest", *two), train("older", *two, "max_staleness=1")
    frozen = train("frozen", *two, "optim.lr=1e-30")
    assert written(older)[0] == written(newest)[0]
    assert written(older)[1] == written(frozen)[1] != written(newest)[1]  # the first weights write both
    rows = {row["step"]: row for row in metrics(older)}
    assert rows[1]["train/loss"] == {row["step"]: row for row in metrics(newest)}[1]["train/loss"]


def test_what_it_does_not_go_with(pair: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for override, said in (
        ("max_staleness=-1", "max_staleness=-1: must be at least 0"),
        ("probe_every=1", "the probe needs max_staleness=0"),
        ("objective/surrogate=score", "has no importance ratio to correct by"),
    ):
        asked = merged(*pair, "objective=sampled", "max_staleness=1", override, f"run_dir={tmp_path / 'never'}")
        assert main(["train", *asked]) == 2
        assert said in capsys.readouterr().err
