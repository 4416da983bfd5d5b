"""Logs to TensorBoard event files in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opdkit.data.table import Table
from opdkit.extras import need_package
from opdkit.loggers.service import ServiceLogger, guarded
from opdkit.tables import markdown_table


@dataclass(frozen=True)
class TensorBoard:
    """Writes scalars, tables and the configuration to `<run folder>/tensorboard`. Raises UserError if not installed.

    View them with `tensorboard --logdir <run folder>`.
    """

    def __post_init__(self) -> None:
        need_package("tensorboard", "tensorboard")

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> ServiceLogger:
        """A resumed run hides events after step `done`."""
        service = guarded("TensorBoard", "could not start", lambda: _Events(folder / "tensorboard", resolved, done))
        return ServiceLogger("TensorBoard", service)


class _Events:
    """An open event file."""

    def __init__(self, folder: Path, resolved: Mapping[str, Any], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=done + 1 if done else None)
        if not done:
            self._writer.add_text("config", f"```yaml\n{yaml.safe_dump(dict(resolved), sort_keys=False)}```", 0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def table(self, step: int, name: str, table: Table) -> None:
        rows = [[_cell(value) for value in row] for row in table.rows]
        self._writer.add_text(name, markdown_table(table.columns, rows), step)

    def close(self, *, failed: bool) -> None:
        self._writer.close()


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")
