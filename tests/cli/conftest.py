"""The real command line in this process: its status, what it said, and what it left behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from opdkit.cli.main import main


@dataclass(frozen=True)
class Told:
    status: int
    out: str
    err: str


Opdkit = Callable[..., Told]


@pytest.fixture
def opdkit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Opdkit:
    """opdkit("train", "k=1") in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("HYDRA_FULL_ERROR", "OPDKIT_RUNS", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def run(*arguments: str) -> Told:
        capsys.readouterr()
        status = main(arguments)
        said = capsys.readouterr()
        return Told(status, said.out, said.err)

    return run
