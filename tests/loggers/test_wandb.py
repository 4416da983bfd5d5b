"""W&B works offline by itself, and its trouble is never the run's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from opdkit.data.table import Table
from opdkit.errors import UserError
from opdkit.loggers import WandB, open_loggers
from opdkit.loggers.service import ServiceLogger
from opdkit.loggers.wandb import WandBRun, resolve_mode

KEY = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("mode", "environment", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": KEY}, "online"),
        ("auto", {"WANDB_API_KEY": " "}, "offline"),
        ("auto", {"WANDB_MODE": "disabled", "WANDB_API_KEY": KEY}, "disabled"),
        ("auto", {"WANDB_DISABLED": "true"}, "disabled"),
        ("offline", {"WANDB_API_KEY": KEY}, "offline"),
        ("online", {}, "online"),
    ],
)
def test_mode(mode: Any, environment: dict[str, str], expected: str, tmp_path: Path) -> None:
    assert resolve_mode(mode, {"NETRC": str(tmp_path / "none"), **environment}) == expected


def test_a_key_in_netrc_means_online(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert resolve_mode("auto", {"NETRC": str(tmp_path / "netrc")}) == "online"
    assert resolve_mode("auto", {"NETRC": str(tmp_path / "netrc"), "WANDB_BASE_URL": "https://w.test"}) == "offline"


@pytest.mark.parametrize("wrong", [{"mode": "ofline"}, {"project": ""}, {"project": "a/b"}])
def test_wrong_settings_are_the_users(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=rf"logger\.wandb\.{next(iter(wrong))}"):
        WandB(**wrong)


@pytest.mark.slow
def test_offline_run_lies_in_the_folder_and_holds_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with open_loggers({"w": WandB(mode="offline")}, tmp_path, {"steps": 2}, 0) as logger:
        logger.log(1, {"train/loss": 0.5, "opd/entropy": math.nan})
        logger.samples(1, [{"prompt": "a", "reward": 1.0}])
    files = [f for f in (tmp_path / "wandb").rglob("*") if f.is_file() and not f.is_symlink()]
    assert any(f.suffix == ".wandb" for f in files)
    assert not any(KEY.encode() in f.read_bytes() for f in files)
    told = capsys.readouterr()
    assert told.err.count("wandb sync") == 1
    assert str(tmp_path / "wandb") in told.err
    identity = (tmp_path / "wandb" / "run-id.txt").read_text()
    with open_loggers({"w": WandB(mode="offline")}, tmp_path, {}, 1):
        pass
    assert (tmp_path / "wandb" / "run-id.txt").read_text() == identity


class Broken:
    def __init__(self) -> None:
        self.calls = 0

    def log(self, values: Any, step: int) -> None:
        self.calls += 1
        raise OSError("the server is gone\nfor good")


def test_a_dead_server_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    run = Broken()
    logger = ServiceLogger("W&B", WandBRun(run, offline=False))
    for step in range(3):
        logger.log(step, {"x": 1.0})
        logger.samples(step, [{"a": 1}])
    logger.close()
    told = capsys.readouterr().err
    assert run.calls == 1
    assert told.count("\n") == 1
    assert "the server is gone for good" in told


def test_a_failing_start_falls_back_and_never_stops_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    modes: list[str] = []

    def refuse(**settings: Any) -> None:
        modes.append(settings["mode"])
        raise wandb.errors.CommError("no route")

    monkeypatch.setattr(wandb, "init", refuse)
    with open_loggers({"w": WandB(mode="online")}, tmp_path, {}) as logger:
        logger.log(1, {"x": 1.0})
        logger.samples(1, [{"a": 1}])
    assert modes == ["online", "offline"]
    assert capsys.readouterr().err.count("no route") == 2


class ActivationBytes:
    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def log(self, values: Any, step: int) -> None:
        self.values |= values


def test_tables_and_histograms_and_no_lists_of_tokens() -> None:
    run = ActivationBytes()
    logger = ServiceLogger("W&B", WandBRun(run, offline=False))
    logger.tables(3, [Table("ids", ("text", "gap"), (("<", -19.2), ("think", None)))])
    logger.tables(3, [Table("spread", ("low", "high", "tokens"), ((-1.0, 0.0, 4), (0.0, 2.0, 6)), histogram=True)])
    logger.samples(3, [{"response": "a", "reward": 1.0, "token_texts": ["a"]}])
    assert run.values["diagnostics/ids"].columns == ["text", "gap"]
    assert run.values["diagnostics/ids"].data == [["<", -19.2], ["think", None]]
    spread = run.values["diagnostics/spread"]
    assert (spread.histogram, spread.bins) == ([4, 6], [-1.0, 0.0, 2.0])
    assert run.values["samples"].columns == ["response", "reward"]
