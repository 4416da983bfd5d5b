"""A report goes to W&B as a run of its own; offline it says how to send it later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opdkit.errors import RunError
from opdkit.loggers.wandb_report import publish

# A picture of one pixel.
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000050001"
    "a5f645400000000049454e44ae426082"
)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.html").write_text("<!doctype html><p>a report", encoding="utf-8")
    for name in ("results", "differences", "runs"):
        (folder / f"{name}.csv").write_text("configuration,pass@1\ntopk,0.5\n", encoding="utf-8")
    (folder / "learning.png").write_bytes(PIXEL)
    return folder


def test_offline_it_is_kept_and_the_way_to_send_it_told(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    told: list[str] = []
    publish(report, "two configurations", told.append)
    (line,) = told
    assert "wandb sync" in line
    synced = Path(line.rpartition(" ")[2])
    assert synced.is_relative_to(report / "wandb")
    assert list(synced.glob("*.wandb"))
    media = {path.suffix for path in (synced / "files" / "media").rglob("*") if path.is_file()}
    assert {".html", ".json", ".png"} <= media


def test_what_is_logged(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    asked: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    artifacts: list[Any] = []

    class Run:
        id = "abc"
        settings = type("Settings", (), {"sync_dir": "there"})

        log = staticmethod(logged.update)
        log_artifact = staticmethod(artifacts.append)

        def finish(self) -> None:
            asked["finished"] = True

    def start(**settings: Any) -> Run:
        asked.update(settings)
        return Run()

    monkeypatch.setattr(wandb, "init", start)
    monkeypatch.setenv("WANDB_MODE", "online")
    told: list[str] = []
    publish(report, "a title", told.append)
    assert (asked["job_type"], asked["name"], asked["mode"], asked["finished"]) == ("report", "a title", "online", True)
    assert set(logged) == {"report", "results", "differences", "runs", "pictures/learning"}
    assert logged["results"].columns == ["configuration", "pass@1"]
    assert logged["results"].data == [["topk", "0.5"]]
    (artifact,) = artifacts
    assert artifact.type == "report"
    assert set(artifact.manifest.entries) == {
        "report.html",
        "results.csv",
        "differences.csv",
        "runs.csv",
        "learning.png",
    }
    assert told == []


def test_switched_off_and_failing(report: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def refuse(**_: Any) -> None:
        raise OSError("no\nroute")

    monkeypatch.setattr(wandb, "init", refuse)
    told: list[str] = []
    monkeypatch.setenv("WANDB_MODE", "disabled")
    publish(report, "a title", told.append)
    assert "switched off" in told[0]
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(RunError, match=r"did not take the report \(no route\)"):
        publish(report, "a title", told.append)
