"""Logs to Trackio, Hugging Face's local-first tracker."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdkit.data.table import Table
from opdkit.errors import UserError
from opdkit.extras import need_package
from opdkit.loggers.service import ServiceLogger, guarded, run_identity


@dataclass(frozen=True)
class Trackio:
    """Logs metrics, tables and the configuration to Trackio's database, for `trackio show`.

    The database is in TRACKIO_DIR. Raises UserError if Trackio is not installed.

    Attributes:
        project: Name of the project.
        space_id: Hugging Face Space to log to; None: local.
    """

    project: str = "opdkit"
    space_id: str | None = None

    def __post_init__(self) -> None:
        need_package("trackio", "trackio")
        if not self.project.strip():
            raise UserError(f"logger.trackio.project={self.project!r}: must be a name")

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> ServiceLogger:
        """A resumed run keeps its Trackio name."""
        service = guarded("Trackio", "could not start", lambda: _TrackioRun(self, folder, resolved))
        return ServiceLogger("Trackio", service)


class _TrackioRun:
    """An open Trackio run, named after the run folder and a stored id. Its console output is discarded."""

    def __init__(self, settings: Trackio, folder: Path, resolved: Mapping[str, Any]) -> None:
        self._trackio: Any = importlib.import_module("trackio")
        name = f"{folder.name}-{run_identity(folder / 'trackio')}"
        with contextlib.redirect_stdout(io.StringIO()):
            self._trackio.init(
                settings.project, name=name, space_id=settings.space_id, config=dict(resolved), resume="allow",
                embed=False, auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._trackio.log(dict(metrics), step=step)

    def table(self, step: int, name: str, table: Table) -> None:
        rows = [list(row) for row in table.rows]
        self._trackio.log({name: self._trackio.Table(columns=list(table.columns), data=rows)}, step=step)

    def close(self, *, failed: bool) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            self._trackio.finish()
