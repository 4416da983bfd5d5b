"""`opdkit init` and `opdkit cp`: what they write runs as they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit
from tests.tiny import save_pair

SHORT = (
    "logger=jsonl", "steps=1", "batch.prompts=2", "batch.mini_batch=2", "batch.micro_batch=2", "benchmark.limit=2",
    "benchmark.max_new_tokens=8", "rollout.max_new_tokens=8",
)  # fmt: skip


def test_a_folder_of_ones_own_passes_its_tests_and_trains(
    opdkit: Opdkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = opdkit("init", "lab")
    assert told.status == 0
    assert told.out.splitlines()[-1] == "next      cd lab && make test train"
    assert opdkit("init", "lab").status == 2
    monkeypatch.chdir(tmp_path / "lab")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    tested = subprocess.run([sys.executable, "-m", "pytest", "-q", "."], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout
    path = list(sys.path)
    run = opdkit("train", "--config-dir", "conf", "experiment=mine", "run_dir=run", *save_pair(tmp_path / "p"), *SHORT)
    sys.path[:] = path
    sys.modules.pop("mine", None)
    assert run.status == 0, run.err
    assert "gap" in (tmp_path / "lab" / "run" / "metrics.jsonl").read_text()


@pytest.mark.parametrize("option", ["objective/topk", "objective/divergence/jsd", "task/gsm8k", "benchmark/gsm8k"])
def test_a_copy_composes_to_the_same(option: str, opdkit: Opdkit, tmp_path: Path) -> None:
    group, _, name = option.rpartition("/")
    told = opdkit("cp", option)
    assert told.status == 0, told.err
    root = "eval" if group == "benchmark" else "train"
    assert told.out.splitlines()[-1] == f"next      opdkit {root} --config-dir conf {group}=my_{name}"
    assert f"my_{name}" in opdkit("ls", group, "--config-dir", "conf").out
    own = opdkit(root, "--config-dir", "conf", f"{group}=my_{name}", "--cfg", "job")
    assert own.status == 0, own.err
    assert own.out == opdkit(root, f"{group}={name}", "--cfg", "job").out


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["topk"], "topk: not an option; write GROUP/OPTION"),
        (["objective/topkk"], "objective/topkk: no such option"),
        (["objectives/topk"], "objectives: no such group"),
        (["objective/topk", "--as", "sampled"], "--as sampled: must be a name"),
        (["objective/topk", "--too", "x"], "usage: opdkit cp GROUP/OPTION"),
    ],
)
def test_what_is_wrong_is_one_line(typed: list[str], line: str, opdkit: Opdkit) -> None:
    told = opdkit("cp", *typed)
    assert told.status == 2
    assert line in told.err
    assert told.err.count("\n") == 1
