"""Whole runs through the real command line, on tiny models saved to a folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opdkit.cli.main import main
from opdkit.config import location
from tests.tiny import save_pair

# Times and memory differ between two runs of the same thing.
UNEQUAL = ("time/", "perf/")
QUICK = (
    "logger=jsonl", "batch.prompts=4", "batch.rollouts_per_prompt=2", "batch.mini_batch=8", "batch.micro_batch=4",
    "rollout.max_new_tokens=8", "benchmark.limit=4", "benchmark.max_new_tokens=8", "vocabulary_metrics_every=1",
    "optim.lr=1e-2", "k=8", "steps=3", "batch.epochs=1", "deterministic=true",
)  # fmt: skip


def merged(*overrides: str) -> list[str]:
    """QUICK and what comes after it, the last value of a key; `k` only where the objective has it."""
    last = {text.split("=")[0]: text for text in (*QUICK, *overrides)}
    option = location.conf_dir() / f"objective/{last.get('objective', 'objective=topk').split('=')[1]}.yaml"
    if "select:k" not in option.read_text(encoding="utf-8"):
        del last["k"]
    return list(last.values())


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Overrides that choose two tiny models with random weights."""
    return save_pair(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def train(pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """train(name, *overrides) -> the run folder, in this process; fails unless the status is 0."""
    monkeypatch.chdir(tmp_path)

    def run(name: str, *overrides: str) -> Path:
        assert main(["train", *merged(*pair, f"run_dir={name}", *overrides)]) == 0
        return tmp_path / name

    return run


@pytest.fixture
def start(pair: list[str], tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """start(name, *overrides) -> a process of its own, to be killed."""

    def run(name: str, *overrides: str) -> subprocess.Popen[str]:
        root = Path(__file__).resolve().parents[2]
        return subprocess.Popen(
            [sys.executable, "-m", "opdkit.cli", "train", *merged(*pair, f"run_dir={name}", *overrides)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what differs by nature."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if not k.startswith(UNEQUAL)} for line in lines]


def weights(folder: Path) -> bytes:
    """The student's weights as they lie on disk."""
    return (folder / "final" / "model.safetensors").read_bytes()


def halved(whole: Path, checkpoint: str) -> Path:
    """A copy of a run as it was when it had only got as far as `checkpoint`, its later lines not yet cut off."""
    half = whole.parent / "half"
    shutil.copytree(whole, half)
    (half / "summary.json").unlink()
    shutil.rmtree(half / "final")
    for folder in (half / "checkpoints").iterdir():
        if folder.name != checkpoint:
            shutil.rmtree(folder)
    for file in (half / "evals").glob("*.json*"):
        file.unlink()
    return half
