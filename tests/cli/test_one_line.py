"""Mistakes that used to end in a traceback, or that nothing was said of: one line, exit status 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.cli.private import public
from tests.cli.conftest import Opdkit

MINE = """
from dataclasses import dataclass


@dataclass(frozen=True)
class Fussy:
    size: int = 1

    def __post_init__(self):
        if self.size < 2:
            raise ValueError("size is too\\nsmall")
        raise KeyError("a defect")
"""


def option(folder: Path, name: str, text: str) -> None:
    (folder / "mine" / "masking").mkdir(parents=True, exist_ok=True)
    (folder / "mine" / "masking" / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        (["masking=broken"], "broken.yaml, line 2: is not YAML"),
        (["masking=evil"], "masking._target_: os.system is in Python's standard library; allowed: a class of"),
        (
            ["masking=none", "task=game", "rollout=episodes"],
            "task.environment._target_: os.system is in Python's standard lib",
        ),
        (["masking=fussy"], "masking.size is too small"),
        (["masking=none", "optim.betas=[2,3]"], "optim.betas=[2, 3]; both must be at least 0 and below 1"),
        (["masking=none", "hydra.run.dir=x"], "hydra.run.dir=x: has no effect here; use run_dir="),
        (["masking=none", "hydra.job.name=x"], "hydra.job.name=x: has no effect here; allowed Hydra keys: hydra/l"),
        (["masking=none", "model.path=./mine"], "model.path='./mine' holds no model: no config.json and no adapter"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_one_line(typed: list[str], line: str, opdkit: Opdkit, tmp_path: Path) -> None:
    (tmp_path / "fussy_module.py").write_text(MINE)
    option(tmp_path, "evil", "# asks for a shell, which is refused\n_target_: os.system\ncommand: ls\n")
    option(tmp_path, "fussy", "# refuses what it is given by itself\n_target_: fussy_module.Fussy\nsize: 1\n")
    (tmp_path / "mine" / "task").mkdir()
    (tmp_path / "mine" / "task" / "game.yaml").write_text(
        "# a game that asks for a shell\n_target_: opdkit.environments.Custom\n_recursive_: false\n"
        "environment: {_target_: os.system, command: touch begun}\n"
    )
    if typed == ["masking=broken"]:
        option(tmp_path, "broken", "a: [1\nb: {")
    told = opdkit("train", "--config-dir", "mine", *typed)
    assert told.status == 2
    assert line in told.err
    assert told.err.count("\n") == 1
    assert not (tmp_path / "begun").exists()


def test_a_defect_keeps_its_traceback(opdkit: Opdkit, tmp_path: Path) -> None:
    (tmp_path / "fussy_module.py").write_text(MINE)
    option(tmp_path, "fussy", "# refuses what it is given by itself\n_target_: fussy_module.Fussy\nsize: 2\n")
    with pytest.raises(Exception, match="a defect"):
        opdkit("train", "--config-dir", "mine", "masking=fussy")


def test_private_options_are_listed_nowhere(opdkit: Opdkit, monkeypatch: pytest.MonkeyPatch) -> None:
    assert public("objective: _algebra, topk, sampled\n") == "objective: topk, sampled\n"
    assert public("objective=_algebra objective=topk\n") == "objective=topk\n"
    assert public("task=_textworld_express\n") == ""
    assert public("  _target_: opdkit.x\n") == "  _target_: opdkit.x\n"
    said = opdkit("train", "--help").out
    assert "\nobjective: distillm_forward, " in said
    assert "_algebra" not in said
    for shell in ("bash", "zsh", "fish"):
        monkeypatch.setenv("COMP_LINE", "opdkit train objective=")
        monkeypatch.setenv("COMP_POINT", "23")
        words = opdkit("-sc", f"query={shell}").out.split()
        assert "objective=topk" in words
        assert not [word for word in words if "=_" in word]
    monkeypatch.setenv("COMP_LINE", "opdkit ")
    assert opdkit("-sc", "query=fish").out.splitlines()[:2] == ["train", "sweep"]
