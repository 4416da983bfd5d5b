"""Loggers of tracking services, whose failures never stop a run."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from opdkit.data.table import Table

T = TypeVar("T")


class Service(Protocol):
    """An open run at a tracking service. Every method may raise anything."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Finite metrics of one step."""
        ...

    def table(self, step: int, name: str, table: Table) -> None:
        """A table of one step; `name` includes its folder."""
        ...

    def close(self, *, failed: bool) -> None:
        """Flushes and ends the run."""
        ...


class ServiceLogger:
    """A `MetricLogger` over a service. After the first failure, which is printed, nothing more is sent."""

    def __init__(self, name: str, service: Service | None) -> None:
        self._name = name
        self._service = service

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        finite = {name: value for name, value in metrics.items() if math.isfinite(value)}
        self._send(lambda service: service.log(step, finite))

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows as a table `samples`, without lists of token values, which samples.jsonl keeps."""
        if rows:
            columns = tuple(name for name, value in rows[0].items() if not isinstance(value, list))
            cells = tuple(tuple(str(row.get(name)) for name in columns) for row in rows)
            self._send(lambda service: service.table(step, "samples", Table("samples", columns, cells)))

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        for table in tables:
            self._send(lambda service, table=table: service.table(step, f"diagnostics/{table.name}", table))

    def close(self, *, failed: bool = False) -> None:
        service, self._service = self._service, None
        if service is not None:
            guarded(self._name, "did not end well", lambda: service.close(failed=failed))

    def _send(self, action: Callable[[Service], None]) -> None:
        service = self._service
        if service is not None and guarded(self._name, "stopped", lambda: action(service) or True) is None:
            self._service = None


def guarded(name: str, failure: str, action: Callable[[], T]) -> T | None:
    """The action's result, or None and one line on stderr if it raises."""
    try:
        return action()
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        print(f"opdkit: {name} {failure} ({reason}); the run goes on, metrics.jsonl has everything", file=sys.stderr)
        return None


def run_identity(folder: Path) -> str:
    """A run's id at a service: created once and stored in `folder`, so that a resumed run keeps it."""
    file = folder / "run-id.txt"
    if file.exists():
        return file.read_text(encoding="ascii").strip()
    folder.mkdir(parents=True, exist_ok=True)
    identity = uuid.uuid4().hex[:12]
    file.write_text(identity + "\n", encoding="ascii")
    return identity
