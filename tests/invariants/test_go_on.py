"""`resume=auto`, a finished run that gets more steps, and what may differ where a run goes on."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import merged, metrics, weights

Train = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]
LONG = ("steps=6", "checkpoint_every=2", "optim.schedule=constant")
AUTO = (*LONG, "resume=auto")


def _run(pair: list[str], name: str, *overrides: str) -> int:
    return main(["train", *merged(*pair, f"run_dir={name}", *overrides)])


def _same(one: Path, two: Path) -> None:
    # A run that was finished twice has been evaluated twice.
    rows = [[{k: v for k, v in row.items() if not k.startswith("eval/")} for row in metrics(run)] for run in (one, two)]
    assert rows[0] == rows[1]
    assert weights(one) == weights(two)
    assert (one / "samples.jsonl").read_text() == (two / "samples.jsonl").read_text()


def _killed_at(process: subprocess.Popen[str], ready: Callable[[], bool]) -> None:
    until = time.monotonic() + 240
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.01)
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_same_command_is_typed_each_time(
    train: Train, start: Start, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = train("whole", *LONG), tmp_path / "cut"
    _killed_at(start("cut", *AUTO), lambda: (folder / "config.yaml").exists())  # most often before a checkpoint
    _killed_at(start("cut", *AUTO), lambda: any((folder / "checkpoints").glob("step-*")))
    assert _run(pair, "cut", *AUTO) == 0
    assert "going on from step-0000" in capsys.readouterr().out
    _same(whole, folder)
    assert _run(pair, "cut", *AUTO) == 0
    assert "is complete" in capsys.readouterr().out


def test_auto_begins_where_there_is_no_run_and_none_that_got_to_a_checkpoint(
    train: Train, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = train("new", *AUTO)
    whole = shutil.copytree(folder, tmp_path / "whole")
    (folder / "summary.json").unlink()
    shutil.rmtree(folder / "checkpoints")
    (folder / "checkpoints" / ".writing-step-000002").mkdir(parents=True)
    capsys.readouterr()
    assert _run(pair, "new", *LONG, "resume=true") == 2
    assert "no whole checkpoint" in capsys.readouterr().err
    assert _run(pair, "new", *AUTO) == 0
    assert "from the beginning" in capsys.readouterr().out
    _same(whole, folder)


def test_a_finished_run_goes_on_from_its_end(
    train: Train, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, folder = train("whole", *LONG), train("grown", *LONG, "steps=4")
    ended = json.loads((folder / "summary.json").read_text())["after"]
    capsys.readouterr()
    assert _run(pair, "grown", *LONG, "steps=5", "resume=true", "k=4") == 2
    assert "resume=true with a config that differs from the run's: objective.k" in capsys.readouterr().err
    assert _run(pair, "grown", *LONG, "steps=3", "resume=true") == 2
    assert "steps: 4 -> 3" in capsys.readouterr().err
    assert _run(pair, "grown", *LONG, "resume=true") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "complete after 4 steps and now has 6; the learning rate (constant) was 0.008" in said
    _same(whole, folder)
    benchmark = ended["benchmark"]
    assert json.loads((folder / f"evals/step-000004/{benchmark}.json").read_text()) == ended
    assert (whole / f"evals/{benchmark}.json").read_text() == (folder / f"evals/{benchmark}.json").read_text()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["resume=maybe"], "resume=maybe: no such choice; allowed: auto, false, true"),
        (["resume=auto"], "resume=auto: which run? give run_dir=... as well"),
    ],
)
def test_what_resume_takes(typed: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *typed]) == 2
    assert said in capsys.readouterr().err
