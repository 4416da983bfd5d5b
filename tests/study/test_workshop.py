"""The folder of a study: pieces kept, what is refused, what is written and when."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from opdkit.console.terminal import terminal_reporter
from opdkit.errors import RunError, UserError
from opdkit.study.outcome import Claim, Outcome, Table
from opdkit.study.workshop import Order, Workshop, check_folder, run


@dataclass
class Stub:
    """Two pieces; fails at the second while `broken`."""

    seeds: list[int] = field(default_factory=lambda: [0])
    broken: bool = False
    made: list[str] = field(default_factory=list)

    def work_out(self, workshop: Workshop) -> Outcome:
        values = [float(workshop.piece(name, lambda name=name: self._make(name))["value"]) for name in ("a", "b")]
        claim = Claim("they are | there", "both", f"{sum(values)}", "holds")
        return Outcome("Stub", "An opening.", [claim], {"both": Table("Both", ["name", "value"], [["a", values[0]]])})

    def _make(self, name: str) -> dict[str, torch.Tensor]:
        if self.broken and name == "b":
            raise RunError("the disk is full")
        self.made.append(name)
        return {"value": torch.tensor(1.5)}


def work(study: Stub, path: Path, *, resume: bool = False, resolved: dict | None = None) -> dict:
    with terminal_reporter() as reporter:
        return run(Order(study, resolved or {"study": {"x": 1}}, resume, "opdkit study"), path, reporter)


def test_what_is_written(tmp_path: Path) -> None:
    summary = work(Stub(), tmp_path / "s")
    assert summary["claims"] == [{"claim": "they are | there", "measured": "3.0", "verdict": "holds"}]
    assert json.loads((tmp_path / "s" / "summary.json").read_text()) == summary
    assert (tmp_path / "s" / "both.csv").read_text() == "name,value\na,1.5\n"
    page = (tmp_path / "s" / "findings.md").read_text()
    assert "| they are \\| there | both | 3.0 | **holds** |" in page
    assert "| name | value |\n|---|---:|\n| a | 1.5 |" in page
    assert page.startswith("# Stub\n\n`opdkit study`\n")


def test_a_study_that_was_stopped_goes_on(tmp_path: Path) -> None:
    study = Stub(broken=True)
    with pytest.raises(RunError):
        work(study, tmp_path)
    assert not (tmp_path / "summary.json").exists()
    study.broken = False
    with pytest.raises(UserError, match="already contains an unfinished study; add resume=true"):
        work(study, tmp_path)
    with pytest.raises(UserError, match=r"a config that differs from the run's: study\.x: 1 -> 2"):
        work(study, tmp_path, resume=True, resolved={"study": {"x": 2}})
    work(study, tmp_path, resume=True)
    assert study.made == ["a", "b"]


def test_a_finished_study_is_left_alone(tmp_path: Path) -> None:
    work(Stub(), tmp_path)
    for resume in (False, True):
        with pytest.raises(UserError, match="contains a finished study"):
            check_folder(tmp_path, resume=resume, resolved={"study": {"x": 1}})


def test_resume_needs_a_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no study"):
        check_folder(tmp_path / "none", resume=True, resolved={})


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "a.safetensors").write_bytes(b"no weights")
    with terminal_reporter() as reporter, pytest.raises(RunError, match=r"a.safetensors can't be read"):
        Workshop(tmp_path, reporter).piece("a", dict)
