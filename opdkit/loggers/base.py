"""Logger protocols, and several loggers joined as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from opdkit.loggers.jsonl import Jsonl

if TYPE_CHECKING:
    from opdkit.data.table import Table


class MetricLogger(Protocol):
    """An open logger."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Logs metrics of one step. Further metrics of a step are added to it."""
        ...

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Logs a few rollouts of one step, as plain values."""
        ...

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        """Logs the diagnostic tables of one step."""
        ...

    def close(self, *, failed: bool = False) -> None:
        """Flushes and closes. `failed`: the run ended with an error. Safe to call twice."""
        ...


class LoggerSpec(Protocol):
    """The settings of a logger. Nothing is opened before `open`."""

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> MetricLogger:
        """folder: the run folder; resolved: its configuration as plain values; done: completed steps of a resumed
        run, 0 for a new run. Anything logged after them is dropped."""
        ...


class _Several:
    def __init__(self, loggers: Sequence[MetricLogger]) -> None:
        self._loggers = loggers

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for logger in self._loggers:
            logger.log(step, metrics)

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        for logger in self._loggers:
            logger.samples(step, rows)

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        for logger in self._loggers:
            logger.tables(step, tables)

    def close(self, *, failed: bool = False) -> None:
        for logger in self._loggers:
            logger.close(failed=failed)


def no_loggers() -> MetricLogger:
    """A logger that discards everything, used by all processes except the main one."""
    return _Several([])


@contextmanager
def open_loggers(
    specs: Mapping[str, LoggerSpec], folder: Path, resolved: Mapping[str, Any], done: int = 0
) -> Iterator[MetricLogger]:
    """All loggers of a run as one, always closed. The jsonl logger is always included and comes first."""
    opened: list[MetricLogger] = []
    failed = True
    try:
        for spec in {"jsonl": Jsonl(), **specs}.values():
            opened.append(spec.open(folder, resolved, done))
        yield _Several(opened)
        failed = False
    finally:
        _Several(opened).close(failed=failed)
