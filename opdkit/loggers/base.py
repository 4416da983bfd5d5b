"""Defines the logger protocols, and joins several loggers as one."""

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
        """Metrics of one step. What is logged for a step again is added to it."""
        ...

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A few rollouts of one step, as plain values."""
        ...

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        """What the diagnostics of one step found."""
        ...

    def close(self, *, failed: bool = False) -> None:
        """Everything is written. `failed`: the run ended with an error. Safe to call twice."""
        ...


class LoggerSpec(Protocol):
    """A logger's settings, as a config group builds them. Nothing is opened before `open`."""

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> MetricLogger:
        """folder: the run's; resolved: its configuration as plain values; done: steps that a resumed run has
        behind it, 0 for a new run. What was logged after them is dropped."""
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
    """Keeps nothing: what all processes of a run have but the main one."""
    return _Several([])


@contextmanager
def open_loggers(
    specs: Mapping[str, LoggerSpec], folder: Path, resolved: Mapping[str, Any], done: int = 0
) -> Iterator[MetricLogger]:
    """All loggers of a run as one, closed whatever happens. The jsonl files are always among them, and come first."""
    opened: list[MetricLogger] = []
    failed = True
    try:
        for spec in {"jsonl": Jsonl(), **specs}.values():
            opened.append(spec.open(folder, resolved, done))
        yield _Several(opened)
        failed = False
    finally:
        _Several(opened).close(failed=failed)
