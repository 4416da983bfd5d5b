"""opdkit.train, opdkit.evaluate and opdkit.report on tiny models: what they return, call and print."""

from __future__ import annotations

import builtins
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import opdkit
from tests.invariants.conftest import QUICK
from tests.tiny import save_pair


class Seen(opdkit.Callback):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.losses: list[float] = []
        self.evaluations: list[tuple[int, str]] = []
        self.checkpoints: list[tuple[int, bool]] = []

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        self.steps.append(step)
        self.losses.append(metrics["train/loss"])

    def on_evaluation(self, step: int, label: str, summary: Mapping[str, Any]) -> None:
        assert 0.0 <= summary["pass@1"] <= 1.0
        self.evaluations.append((step, label))

    def on_checkpoint(self, step: int, folder: Path) -> None:
        self.checkpoints.append((step, (folder / "model.safetensors").is_file()))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[opdkit.Run, Seen, list[str]]:
    folder = tmp_path_factory.mktemp("made")
    pair, seen = save_pair(folder), Seen()
    run = opdkit.train(
        [*pair, *QUICK, "eval_every=2", "checkpoint_every=2", f"run_dir={folder / 'run'}"], callbacks=[seen], quiet=True
    )
    return run, seen, pair


def test_a_run_tells_its_numbers_and_paths(made: tuple[opdkit.Run, Seen, list[str]]) -> None:
    run, _, _ = made
    assert run.summary["after"]["n_problems"] == 4
    assert [line["step"] for line in run.metrics if "train/loss" in line] == [1, 2, 3]
    assert run.samples
    assert (run.final / "config.json").is_file()
    assert sorted(path.name for path in run.checkpoints.iterdir())[-1] == "step-000003"
    assert opdkit.Run.read(run.path) == run
    assert run.config.is_file()
    assert run.best is None


def test_its_metrics_are_a_dataframe(made: tuple[opdkit.Run, Seen, list[str]]) -> None:
    frame = made[0].dataframe()
    assert list(frame.loc[1:, "train/loss"].dropna()) == made[1].losses


def test_callbacks_see_every_event(made: tuple[opdkit.Run, Seen, list[str]]) -> None:
    seen = made[1]
    assert seen.steps == [1, 2, 3]
    assert seen.evaluations == [(0, "before"), (0, "teacher"), (2, "step-000002"), (3, "after")]
    assert seen.checkpoints == [(2, True), (3, True)]


def test_evaluate_and_report(
    made: tuple[opdkit.Run, Seen, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _, _ = made
    asked = [f"model.path={run.final}", "benchmark.limit=4", "benchmark.max_new_tokens=8", f"run_dir={tmp_path / 'e'}"]
    told = opdkit.evaluate(asked, quiet=True)
    assert told.summary["pass@1"] == run.summary["after"]["pass@1"]
    assert len(told.responses) == 4
    several = opdkit.evaluate(
        [
            f"model.path={run.final}", "benchmark=chain_sum,chain_sum_short", "benchmark.limit=2",
            "benchmark.max_new_tokens=4", f"run_dir={tmp_path / 'both'}",
        ],
        quiet=True,
    )  # fmt: skip
    assert list(several.summaries) == ["chain_sum", "chain_sum_short"]
    assert len(several.responses_to("chain_sum_short")) == 2
    with pytest.raises(opdkit.UserError, match="allowed: one of chain_sum, chain_sum_short"):
        _ = several.summary
    page = opdkit.report([run], tmp_path / "page")
    assert page.name == "report.html"
    assert page.is_file()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("overrides", [["kk=3"], ["k=1,2"], ["--cfg", "job"], ["steps=-1"]])
def test_what_is_refused_is_a_user_error(overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(opdkit.UserError):
        opdkit.train(overrides, quiet=True)
    assert list(tmp_path.iterdir()) == []


def test_no_finished_run_and_no_pandas_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(opdkit.UserError, match="no finished run"):
        opdkit.Run.read(tmp_path)
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1}) + "\n")
    real = builtins.__import__

    def without(name: str, *rest: Any, **keys: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **keys)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(opdkit.UserError, match="pip install pandas"):
        opdkit.Run(tmp_path, {}).dataframe()
