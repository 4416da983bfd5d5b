"""Logs to MLflow: to the server of MLFLOW_TRACKING_URI, or to files in the run folder."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdkit.data.table import Table
from opdkit.errors import UserError
from opdkit.extras import need_package
from opdkit.loggers.service import ServiceLogger, guarded

_FORBIDDEN = re.compile(r"[^\w./ -]")


@dataclass(frozen=True)
class MLflow:
    """Logs metrics, tables and the configuration to one MLflow run. Raises UserError if not installed.

    Attributes:
        experiment: Name of the MLflow experiment.
        tracking_uri: Address of the store; None: MLFLOW_TRACKING_URI, or `<run folder>/mlflow`.
    """

    experiment: str = "opdkit"
    tracking_uri: str | None = None

    def __post_init__(self) -> None:
        need_package("mlflow", "mlflow")
        if not self.experiment.strip():
            raise UserError(f"logger.mlflow.experiment={self.experiment!r}: must be a name")

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> ServiceLogger:
        """A resumed run continues its MLflow run."""
        service = guarded("MLflow", "could not start", lambda: _MLflowRun(self, folder, resolved))
        return ServiceLogger("MLflow", service)


class _MLflowRun:
    """An open MLflow run; its id is stored in `<run folder>/mlflow/run-id.txt`."""

    def __init__(self, settings: MLflow, folder: Path, resolved: Mapping[str, Any]) -> None:
        # The file store suffices for a single run; MLflow requires opting in since it recommends a database.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        inside = (folder / "mlflow").resolve()
        inside.mkdir(parents=True, exist_ok=True)
        uri = settings.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or inside.as_uri()
        self._client = MlflowClient(tracking_uri=uri)
        identity = inside / "run-id.txt"
        if identity.exists():
            self._run = identity.read_text(encoding="ascii").strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        known = self._client.get_experiment_by_name(settings.experiment)
        experiment = known.experiment_id if known else self._client.create_experiment(settings.experiment)
        self._run = self._client.create_run(experiment, run_name=folder.name).info.run_id
        identity.write_text(self._run + "\n", encoding="ascii")
        self._client.log_dict(self._run, dict(resolved), "config.yaml")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """MLflow forbids some characters in names: `pass@1` becomes `pass_1`."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        values = [Metric(_FORBIDDEN.sub("_", name), value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._run, metrics=values)

    def table(self, step: int, name: str, table: Table) -> None:
        """A JSON artifact `<name>/<step>.json`."""
        content = {"columns": list(table.columns), "data": [list(row) for row in table.rows]}
        self._client.log_dict(self._run, content, f"{_FORBIDDEN.sub('_', name)}/{step}.json")

    def close(self, *, failed: bool) -> None:
        self._client.set_terminated(self._run, status="FAILED" if failed else "FINISHED")
