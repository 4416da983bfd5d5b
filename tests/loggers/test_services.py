"""TensorBoard, MLflow and Trackio for real, what they wrote read back; and one that is missing."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opdkit.data.table import Table
from opdkit.errors import UserError
from opdkit.loggers import LoggerSpec, MLflow, TensorBoard, Trackio, open_loggers

TABLE = Table("ids", ("text", "gap"), (("<|", -19.2), ("think", None)))


def log_two_steps(spec: LoggerSpec, folder: Path) -> None:
    """A run of one step, resumed for a second."""
    folder.mkdir(exist_ok=True)
    resolved = {"steps": 2, "objective": {"k": 3}}
    with open_loggers({"service": spec}, folder, resolved, 0) as logger:
        logger.log(1, {"train/loss": 0.5, "eval/sums/pass@1": 0.25, "opd/entropy": math.nan})
        logger.samples(1, [{"response": "a|b", "reward": 1.0, "token_texts": ["a"]}])
        logger.tables(1, [TABLE])
    with open_loggers({"service": spec}, folder, resolved, 1) as logger:
        logger.log(2, {"train/loss": 0.4})
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]  # whatever the service, the files are whole


def test_tensorboard_reads_what_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log_two_steps(TensorBoard(), tmp_path / "run")
    assert capsys.readouterr().err == ""
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "eval/sums/pass@1"}
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.4)]
    texts = {tag: events.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
    assert "objective:\n  k: 3" in texts["config/text_summary"]
    assert "| think | None |" in texts["diagnostics/ids/text_summary"]
    assert "| a\\|b | 1.0 |" in texts["samples/text_summary"]


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return


@pytest.mark.usefixtures("no_server")
@pytest.mark.filterwarnings("ignore::FutureWarning:mlflow", "ignore::DeprecationWarning")
def test_mlflow_reads_what_was_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path / "run"
    log_two_steps(MLflow(experiment="mine"), folder)
    assert capsys.readouterr().err == ""
    client = mlflow.MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("mine").experiment_id])
    assert (run.info.run_name, run.info.status) == ("run", "FINISHED")
    assert [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "train/loss")] == [(1, 0.5), (2, 0.4)]
    assert run.data.metrics["eval/sums/pass_1"] == 0.25
    assert "opd/entropy" not in run.data.metrics
    tables = {path.parent.name: json.loads(path.read_text()) for path in folder.rglob("artifacts/**/1.json")}
    assert tables["ids"] == {"columns": ["text", "gap"], "data": [["<|", -19.2], ["think", None]]}
    assert tables["samples"]["data"] == [["a|b", "1.0"]]
    assert len(list(folder.rglob("artifacts/config.yaml"))) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_trackio_reads_what_was_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    log_two_steps(Trackio(project="mine"), tmp_path / "run")
    assert capsys.readouterr().out == ""
    assert list((tmp_path / "trackio").glob("*.db"))
    (run,) = trackio.Api().runs("mine")
    assert run.name.startswith("run-")
    assert run.config["objective"] == {"k": 3}
    rows = importlib.import_module("trackio.sqlite_storage").SQLiteStorage.get_logs("mine", run.name)
    assert [(row["step"], row["train/loss"]) for row in rows if "train/loss" in row] == [(1, 0.5), (2, 0.4)]
    (table,) = [row["diagnostics/ids"] for row in rows if "diagnostics/ids" in row]
    assert "think" in json.dumps(table)


@pytest.mark.parametrize(("spec", "package"), [(TensorBoard, "tensorboard"), (MLflow, "mlflow"), (Trackio, "trackio")])
def test_a_missing_package_is_one_line(spec: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=rf"^{package} is not installed: pip install 'opdkit\[{package}\]'$"):
        spec()
