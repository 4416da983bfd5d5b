"""A run that was stopped and went on is the run that was never stopped."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from opdkit.runs.folder import RunFolder
from tests.invariants.conftest import merged, metrics, weights

Start = Callable[..., "subprocess.Popen[str]"]
LONG = ("steps=8", "checkpoint_every=2", "eval_every=4")


def _lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def _wait_for(process: subprocess.Popen[str], ready: Callable[[], bool], seconds: float = 240) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "the run did not get that far"
        time.sleep(0.01)


@pytest.fixture(scope="module")
def finished(pair: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, with all its checkpoints."""
    folder = tmp_path_factory.mktemp("finished") / "whole"
    assert main(["train", *merged(*pair, *LONG, "keep_checkpoints=9", f"run_dir={folder}")]) == 0
    return folder


@pytest.fixture
def whole(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that run in the folder of the test."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished, tmp_path / "whole")


def _resume(pair: list[str], name: str, *overrides: str) -> int:
    return main(["train", *merged(*pair, *LONG, f"run_dir={name}", "resume=true", *overrides)])


def _same(one: Path, two: Path) -> None:
    assert metrics(one) == metrics(two)
    assert weights(one) == weights(two)
    for name in ("samples.jsonl", "diagnostics.jsonl"):
        assert (one / name).read_text() == (two / name).read_text()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("after", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_after_kill_9(whole: Path, start: Start, pair: list[str], tmp_path: Path, after: int) -> None:
    process = start("killed", *LONG)
    _wait_for(process, lambda: _lines(tmp_path / "killed") > after)
    process.kill()
    process.communicate()
    assert _resume(pair, "killed") == 0
    _same(whole, tmp_path / "killed")


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("number", "status"),
    [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)],
)
def test_after_a_signal_which_saves_and_says_so(
    whole: Path, start: Start, pair: list[str], tmp_path: Path, number: int, status: int
) -> None:
    process = start("stopped", *LONG, "checkpoint_every=0")
    _wait_for(process, lambda: _lines(tmp_path / "stopped") > 2)
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == status, said
    assert "Traceback" not in said
    assert len(list((tmp_path / "stopped" / "checkpoints").glob("step-*"))) == 1
    assert _resume(pair, "stopped", "checkpoint_every=0") == 0
    _same(whole, tmp_path / "stopped")


def test_from_the_checkpoint_before_a_damaged_one(
    whole: Path, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    for name in ("summary.json", "final"):
        path = half / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    damaged = half / "checkpoints" / "step-000008" / "optimizer.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-10])
    with (half / "metrics.jsonl").open("a") as file:
        file.write('{"step": 9, "train/lo')
    capsys.readouterr()
    assert _resume(pair, "half", "keep_checkpoints=9") == 0
    said = capsys.readouterr().out
    assert "step-000008: optimizer.safetensors has" in said
    assert "going on from step-000006" in said
    _same(whole, half)


def test_a_complete_run_is_left_alone(whole: Path, pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = (whole / "metrics.jsonl").stat().st_mtime_ns
    assert _resume(pair, "whole") == 0
    assert "is complete" in capsys.readouterr().out
    assert (whole / "metrics.jsonl").stat().st_mtime_ns == before


def test_a_job_of_a_sweep_that_ended_before_its_first_checkpoint_begins_again(
    pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ["sweep", *merged(*pair, *LONG, "seed=0,1", "run_dir=grid")]
    assert main(sweep) == 0
    (dead,) = (tmp_path / "grid").glob("1-*")
    whole = shutil.copytree(dead, tmp_path / "whole")
    (dead / "summary.json").unlink()
    shutil.rmtree(dead / "checkpoints")
    (dead / "checkpoints").mkdir()
    capsys.readouterr()
    assert main([*sweep, "resume=true"]) == 0
    assert "from the beginning" in capsys.readouterr().out
    _same(whole, dead)


def test_a_run_of_which_no_checkpoint_is_whole_is_refused(
    whole: Path, pair: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (whole / "summary.json").unlink()
    for file in (whole / "checkpoints").glob("*/*.safetensors"):
        file.write_bytes(file.read_bytes()[:-10])
    capsys.readouterr()
    assert _resume(pair, "whole") == 2
    assert "no whole checkpoint" in capsys.readouterr().err


def test_what_cannot_go_on(whole: Path, pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (whole / "summary.json").unlink()
    capsys.readouterr()
    shutil.move(whole / "checkpoints", tmp_path / "aside")
    (whole / "checkpoints").mkdir()
    for name, overrides, said in (
        ("whole", ["optim.lr=0.5"], "resume=true with a config that differs"),
        ("nowhere", [], "holds no run"),
        ("whole", [], "no whole checkpoint"),
    ):
        assert _resume(pair, name, *overrides) == 2, said
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1
    assert not (tmp_path / "nowhere").exists()


def test_two_runs_cannot_own_one_folder(whole: Path, pair: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(whole).owned():
        assert _resume(pair, "whole", "steps=1000") == 2
    assert "in use" in capsys.readouterr().err
