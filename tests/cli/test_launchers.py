"""Sweeps whose jobs run in processes of their own, and searches, with Hydra's plugins where they are installed."""

from __future__ import annotations

import importlib.util
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from opdkit.cli.failures import Failures
from opdkit.config.overrides import first_job, jobs
from opdkit.errors import Interrupted, UserError
from tests.cli.conftest import Opdkit
from tests.tiny import save_pair

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"],
}
OPTUNA = ["hparams_search=optuna", "hydra.sweeper.n_trials=4", "k=4,8"]
SMALL = (
    "logger=jsonl", "batch.prompts=2", "batch.rollouts_per_prompt=2", "batch.mini_batch=4", "batch.micro_batch=4",
    "batch.epochs=1", "rollout.max_new_tokens=8", "benchmark.limit=2", "benchmark.max_new_tokens=4", "steps=2",
    "checkpoint_every=1", "max_bad_steps=1",
)  # fmt: skip
FAILS = "optim.lr=1e-3,1e30"  # the second breaks the weights in its first step


def installed(plugin: str) -> bool:
    """Whether Hydra's plugin of that name is."""
    return importlib.util.find_spec("hydra_plugins") is not None and (
        importlib.util.find_spec(f"hydra_plugins.hydra_{plugin}") is not None
    )


def needs(plugin: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not installed(plugin), reason=f"hydra_{plugin} is not installed")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return save_pair(tmp_path_factory.mktemp("pair"))


def opdkit_process(here: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "opdkit", *arguments], cwd=here, capture_output=True, text=True, timeout=280, check=False
    )


def finished(sweep: Path) -> dict[str, int]:
    """Number of each job that ended well -> when it wrote its summary."""
    return {file.parent.name.split("-")[0]: file.stat().st_mtime_ns for file in sweep.glob("*/summary.json")}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [pytest.param(name, marks=needs(f"{name}_launcher")) for name in LAUNCHERS])
def test_jobs_in_processes_of_their_own(launcher: str, pair: list[str], tmp_path: Path) -> None:
    command = ["sweep", *pair, *SMALL, *LAUNCHERS[launcher], "seed=0", "k=4", FAILS + ",2e-3", "run_dir=grid"]
    told = opdkit_process(tmp_path, *command)
    assert told.returncode == 1
    last = told.stderr.splitlines()[-1]
    assert last.startswith("opdkit: error: 1 of the sweep's jobs failed: job 1 (")
    assert "not finite" in last
    before = finished(tmp_path / "grid")
    assert set(before) == {"0", "2"}

    # One that was cut off: it goes on, the finished one is left alone, and the failed one is tried and told again.
    (third,) = (tmp_path / "grid").glob("2-*")
    (third / "summary.json").unlink()
    again = opdkit_process(tmp_path, *command, "resume=true")
    assert again.returncode == 1
    assert "1 of the sweep's jobs failed: job 1 (" in again.stderr.splitlines()[-1]
    after = finished(tmp_path / "grid")
    assert set(after) == {"0", "2"}
    assert after["0"] == before["0"]
    assert after["2"] > before["2"]


@pytest.mark.slow
@needs("optuna_sweeper")
def test_a_search(pair: list[str], tmp_path: Path) -> None:
    command = ["train", *pair, *SMALL, *OPTUNA, FAILS, "run_dir=found"]
    told = opdkit_process(tmp_path, *command)
    assert told.returncode == 1  # with this seed of the sampler some of the four trials take 1e30
    before = finished(tmp_path / "found")
    failed = told.stderr.splitlines()[-1].count("job ")
    assert 0 < len(before) < 4
    assert len(before) + failed == 4
    assert "best_value" in (tmp_path / "found/optimization_results.yaml").read_text()
    refused = opdkit_process(tmp_path, *command)
    assert refused.returncode == 2
    assert "resume=true" in refused.stderr
    again = opdkit_process(tmp_path, *command, "resume=true")
    assert again.returncode == 1
    assert finished(tmp_path / "found") == before


@pytest.mark.parametrize("typed", ["hydra/launcher=joblib", "hydra/launcher=submitit_slurm", "hydra/sweeper=optuna"])
def test_what_is_not_installed_is_named(typed: str, opdkit: Opdkit) -> None:
    name = typed.split("=")[1].split("_")[0]
    if installed(f"{name}_sweeper") or installed(f"{name}_launcher"):
        pytest.skip(f"{name} is installed")
    told = opdkit("sweep", typed, "seed=0,1")
    assert told.status == 2
    assert told.err == f"opdkit: error: {typed}: not installed; pip install 'opdkit[{name}]'\n"


def test_a_grid_has_no_intervals(opdkit: Opdkit) -> None:
    told = opdkit("sweep", "optim.lr=interval(1e-4,1e-3)")
    assert told.status == 2
    assert "hydra/sweeper=optuna" in told.err


def test_the_first_job_of_a_search() -> None:
    typed = ["optim.lr=tag(log,interval(0.0001,0.001))", "k=8,16", "seed=3", "steps=range(5,9)"]
    assert first_job(typed) == ["optim.lr=0.0001", "k=8", "seed=3", "steps=5"]
    assert first_job(["k=8", "k=4"]) == ["k=4"]
    with pytest.raises(UserError, match="interval"):
        jobs(typed)


def test_failures_are_told_in_the_order_of_jobs(tmp_path: Path) -> None:
    failures = Failures(tmp_path)
    assert failures.lines() == []
    for number in (10, 2):
        failures.note(number, ["k=4", f"seed={number}"], "no\nspace")
    assert failures.lines() == ["job 2 (k=4 seed=2): no space", "job 10 (k=4 seed=10): no space"]
    assert json.loads((tmp_path / "failures/2.json").read_text())["overrides"] == ["k=4", "seed=2"]
    failures.forget()
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_passes_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Interrupted(15))).signum == 15  # noqa: S301
