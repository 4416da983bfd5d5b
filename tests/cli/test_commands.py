"""Hydra's features through the real command line, and what a job is handed. No weight is loaded here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from opdkit.errors import Interrupted, RunError
from opdkit.training.experiment import Experiment
from tests.cli.conftest import Opdkit

RESULT = {"pass@1": 0.5, "ci95": [0.4, 0.6], "n_problems": 9, "truncated_fraction": 0.0}
Jobs = list[tuple[Experiment, Path]]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Stands in for training: records what it was given, fails for seed 7, is interrupted for seed 8."""
    started: Jobs = []

    def train(experiment: Experiment, run_dir: Path, reporter: Any, *command: Any) -> dict[str, Any]:
        assert not run_dir.exists()
        started.append((experiment, run_dir))
        if experiment.seed == 7:
            raise RunError("seed 7 fails")
        if experiment.seed == 8:
            raise Interrupted(15)
        return dict.fromkeys(("before", "after", "teacher"), RESULT) | {"run_dir": str(run_dir)}

    module = types.ModuleType("opdkit.training.run")
    module.train = train  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opdkit.training.run", module)
    return started


def test_a_run(opdkit: Opdkit, jobs: Jobs, tmp_path: Path) -> None:
    told = opdkit("train", "k=8", "steps=3", "seed=5", "run_dir=here")
    assert (told.status, told.err) == (0, "")
    ((experiment, folder),) = jobs
    assert (experiment.objective.k, experiment.steps, experiment.seed) == (8, 3, 5)
    assert folder == Path("here")
    assert Path.cwd() == tmp_path
    assert list(tmp_path.iterdir()) == []  # Hydra writes nothing
    assert experiment.resolved["objective"]["k"] == 8
    assert "k" not in experiment.resolved
    assert yaml.safe_load(yaml.safe_dump(dict(experiment.resolved))) == experiment.resolved


def test_the_next_command_asks_the_benchmark_that_was_asked(opdkit: Opdkit, jobs: Jobs, tmp_path: Path) -> None:
    told = opdkit("train", "experiment=smollm2_chain_sum", "benchmark.limit=4", "run_dir=here")
    assert "opdkit eval model.path=here/final benchmark=chain_sum_short benchmark.limit=4\n" in told.out
    told = opdkit("train", "experiment=paper_math", "run_dir=elsewhere")
    assert "benchmark=math500 protocol=paper\n" in told.out
    (tmp_path / "mine").mkdir()
    told = opdkit("train", "--config-dir", "mine", "run_dir=there")
    assert f"benchmark=chain_sum --config-dir {tmp_path / 'mine'}\n" in told.out


def test_the_default_folder_is_named_by_time_and_objective(opdkit: Opdkit, jobs: Jobs) -> None:
    assert opdkit("train", "objective=sampled").status == 0
    ((_, folder),) = jobs
    assert folder.parts[0] == "runs"
    assert folder.name.endswith("-sampled")


def test_runs_can_lie_elsewhere(opdkit: Opdkit, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPDKIT_RUNS", "elsewhere")
    assert opdkit("train").status == 0
    assert jobs[0][1].parts[0] == "elsewhere"


def test_a_sweep_gives_each_job_its_folder(opdkit: Opdkit, jobs: Jobs) -> None:
    told = opdkit("sweep", "objective=topk,sampled", "seed=1,2", "run_dir=grid")
    assert (told.status, told.err) == (0, "")
    assert [folder for _, folder in jobs] == [
        Path("grid/0-objective_topk-seed_1"),
        Path("grid/1-objective_topk-seed_2"),
        Path("grid/2-objective_sampled-seed_1"),
        Path("grid/3-objective_sampled-seed_2"),
    ]
    assert [experiment.seed for experiment, _ in jobs] == [1, 2, 1, 2]
    assert "job 3: objective=sampled seed=2 run_dir=grid\n" in told.out


def test_a_failed_job_does_not_stop_the_rest(opdkit: Opdkit, jobs: Jobs) -> None:
    told = opdkit("train", "--multirun", "seed=6,7,9", "run_dir=grid")
    assert [experiment.seed for experiment, _ in jobs] == [6, 7, 9]
    assert told.status == 1
    first, last = told.err.splitlines()
    assert first == "opdkit: error: job 1 (seed=7 run_dir=grid): seed 7 fails"
    assert last.startswith("opdkit: error: 1 of the sweep's jobs failed")


def test_a_signal_ends_the_whole_sweep(opdkit: Opdkit, jobs: Jobs) -> None:
    assert opdkit("sweep", "seed=6,8,9").status == 143
    assert len(jobs) == 2


def test_a_search_is_a_sweep_by_itself(opdkit: Opdkit, jobs: Jobs) -> None:
    assert opdkit("train", "hparams_search=lr", "seed=1").status == 0
    assert [experiment.optimizer.lr for experiment, _ in jobs] == [1e-4, 3e-4, 1e-3]
    assert {experiment.seed for experiment, _ in jobs} == {1}


def test_an_experiments_k_gives_way_to_another_objective(opdkit: Opdkit, jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "wide.yaml").write_text("# @package _global_\n# a wide support\nk: 48\n")
    assert opdkit("train", "--config-dir", "mine", "experiment=wide").status == 0
    assert opdkit("train", "--config-dir", "mine", "experiment=wide", "objective=sampled").status == 0
    assert opdkit("train", "--config-dir", "mine", "experiment=wide", "k=4").status == 0
    assert jobs[0][0].objective.k == 48
    assert jobs[2][0].objective.k == 4


OWN = """
from dataclasses import dataclass

from opdkit.errors import UserError
from opdkit.data.loss import ModelNeeds, Needs


@dataclass(frozen=True)
class Mine:
    weight: float
    kind: str = "plain"

    def __post_init__(self):
        if self.weight <= 0:
            raise UserError(f"weight={self.weight}: must be above 0")

    @property
    def needs(self):
        return Needs(ModelNeeds(sampled=True), ModelNeeds(sampled=True))
"""


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An objective of someone else's: a module beside them, a yaml in ./mine."""
    (tmp_path / "mine" / "objective").mkdir(parents=True)
    (tmp_path / "own_objective.py").write_text(OWN)
    (tmp_path / "mine" / "objective" / "mine.yaml").write_text(
        "# an objective of my own\n_target_: own_objective.Mine\nweight: 2\n"
    )
    path = list(sys.path)
    yield
    sys.path[:] = path
    sys.modules.pop("own_objective", None)


def test_a_strangers_objective(stranger: None, opdkit: Opdkit, jobs: Jobs) -> None:
    assert opdkit("train", "--config-dir", "./mine", "objective=mine").status == 0
    assert type(jobs[0][0].objective).__name__ == "Mine"
    assert "mine" in opdkit("ls", "objective", "--config-dir", "mine").out
    assert opdkit("sweep", "--config-dir", "./mine", "objective=mine,topk", "run_dir=grid").status == 0
    assert len(jobs) == 3
    told = opdkit("train", "--config-dir", "./mine", "objective=mine", "objective.weight=-1")
    assert (told.status, told.err) == (2, "opdkit: error: objective.weight=-1: must be above 0\n")
    told = opdkit("train", "--config-dir", "./mine", "objective=mine", "objective.weight=heavy")
    assert told.err == "opdkit: error: objective.weight=heavy: must be a number\n"
    assert "did you mean mine?" in opdkit("train", "--config-dir", "./mine", "objective=mien").err


def test_cfg_shows_the_configuration_and_runs_nothing(opdkit: Opdkit, jobs: Jobs, tmp_path: Path) -> None:
    told = opdkit("train", "k=8", "--cfg", "job", "--resolve", "seed=3")
    shown = yaml.safe_load(told.out)
    assert (told.status, told.err, jobs) == (0, "", [])
    assert (shown["objective"]["k"], shown["seed"]) == (8, 3)
    assert list(tmp_path.iterdir()) == []
    told = opdkit("train", "--cfg", "job", "kk=3")
    assert (told.status, told.out) == (2, "")


def test_info(tmp_path: Path) -> None:
    """In a process of its own: Hydra leaves a log handler behind."""
    done = subprocess.run(
        [sys.executable, "-m", "opdkit", "train", "--info", "defaults"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "objective/topk" in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("opdkit tr", "train"),
        ("opdkit train aggr", "aggregation="),
        ("opdkit train objective/div", "objective/divergence="),
        ("opdkit sweep objective=", "objective=topk"),
        ("opdkit eval benchmark=", "benchmark=gsm8k"),
        ("opdkit ls ", "objective"),
    ],
)
def test_completion(line: str, expected: str, opdkit: Opdkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMP_LINE", line)
    told = opdkit("-sc", "query=bash")
    assert told.status == 0
    assert expected in told.out.split()


def test_completion_can_be_installed(opdkit: Opdkit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/opdkit"])
    assert opdkit("-sc", "install=bash").out.rstrip().endswith("hydra_bash_completion opdkit")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
@pytest.mark.parametrize(
    ("words", "expected"),
    [("opdkit tr", "train"), ("opdkit train objective=to", "objective=topk"), ("opdkit ls ''", "objective")],
)
def test_completion_in_zsh(words: str, expected: str, opdkit: Opdkit, tmp_path: Path) -> None:
    """The function, called as zsh's own completion calls it; what it would offer is printed."""
    root = Path(__file__).resolve().parents[2]
    (tmp_path / "opdkit").write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m opdkit "$@"\n')
    (tmp_path / "opdkit").chmod(0o755)
    script = (
        f"compdef() {{ }}; {opdkit('-sc', 'install=zsh').out}\n"
        f'compadd() {{ print -l -- "$@" }}\nwords=({words}); CURRENT=$#words; _opdkit'
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["zsh", "-fc", script], env=environment, capture_output=True, text=True, check=False)
    assert expected in done.stdout.split(), done


def test_check_names_what_does_not_bind(opdkit: Opdkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from opdkit.cli import check

    (tmp_path / "mine" / "optim").mkdir(parents=True)
    (tmp_path / "mine" / "optim" / "broken.yaml").write_text(
        "# broken\n_target_: opdkit.training.optimizer.AdamW\nlrr: 1\n"
    )
    picked = [("train", list[str]()), ("train", ["optim=broken"])]
    monkeypatch.setattr(check, "choices", lambda own: iter(picked))
    told = opdkit("check", "--config-dir", "mine")
    assert told.status == 1
    assert told.out.splitlines()[0] == "ok    train"
    assert told.out.splitlines()[1].startswith("FAIL  train optim=broken: optim.lrr: no such key in AdamW")
