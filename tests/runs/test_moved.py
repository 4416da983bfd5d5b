"""A run folder that the first version wrote is taken up, and what would change its numbers is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from opdkit.config.compose import Source, compose, resolve
from opdkit.errors import UserError
from opdkit.runs.folder import RunFolder

OLD = Path(__file__).resolve().parents[1] / "fixtures" / "old_run"
TYPED = ["objective=topk", "k=32", "steps=3", "logger=jsonl", "run_dir=runs/old", "resume=true"]


def asked(*overrides: str) -> dict[str, object]:
    return json.loads(json.dumps(resolve(compose(Source("train"), [*TYPED, *overrides]))))


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    shutil.copy(OLD / "config.yaml", tmp_path / "config.yaml")
    return RunFolder(tmp_path)


def test_the_same_command_goes_on(folder: RunFolder) -> None:
    folder.require_same_config(asked())


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("method=gkd", "method"),
        ("model.attention=eager", "model.attention"),
        ("teacher.cpu_offload=true", "teacher.cpu_offload"),
        ("reward=function", "reward"),
        ("temperature=0.5", "temperature"),
    ],
)
def test_what_changes_numbers_is_refused(folder: RunFolder, override: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        folder.require_same_config(asked(override))
