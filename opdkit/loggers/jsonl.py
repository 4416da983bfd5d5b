"""Logs to metrics.jsonl, samples.jsonl and diagnostics.jsonl, one JSON object per line."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from opdkit.errors import RunError
from opdkit.files import write_whole
from opdkit.jsonl import parse_rows

if TYPE_CHECKING:
    from opdkit.data.table import Table


@dataclass(frozen=True)
class Jsonl:
    """`metrics.jsonl` (one object per step), `samples.jsonl` (per rollout) and `diagnostics.jsonl` (per table) in
    the run folder."""

    def open(self, folder: Path, resolved: Mapping[str, Any], done: int) -> JsonlLogger:
        """A new run (`done` 0) creates the files; a resumed one continues after step `done`."""
        logger = JsonlLogger(folder)
        logger.truncate_after(done if done else -1)
        return logger


class JsonlLogger:
    """Appends, flushes and fsyncs: a killed run loses at most the line being written.

    NaN and infinity become null, so that every line is valid JSON. Raises RunError if writing fails.
    """

    def __init__(self, folder: Path) -> None:
        self.metrics_file = folder / "metrics.jsonl"
        self.samples_file = folder / "samples.jsonl"
        self.diagnostics_file = folder / "diagnostics.jsonl"
        self._last: int | None = None

    def truncate_after(self, step: int) -> None:
        """Drops lines after `step` and incomplete lines."""
        for file in (self.metrics_file, self.samples_file, self.diagnostics_file):
            kept = [row for row in _rows(file) if row["step"] <= step]
            write_whole(file, "".join(map(_line, kept)))
            if file is self.metrics_file:
                self._last = max((row["step"] for row in kept), default=None)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Appends a new step; metrics of an earlier step are merged into its object."""
        values = {name: _finite(value) for name, value in metrics.items()}
        if self._last is None or step > self._last:
            _append(self.metrics_file, [{"step": step, **values}])
            self._last = step
            return
        rows = _rows(self.metrics_file)
        same = next((row for row in rows if row["step"] == step), None)
        if same is None:
            rows = sorted([*rows, {"step": step, **values}], key=lambda row: row["step"])
        elif same | values == same:
            return
        else:
            same.update(values)
        write_whole(self.metrics_file, "".join(map(_line, rows)))

    def samples(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """One line per row, `step` first."""
        _append(self.samples_file, [{"step": step, **{k: _finite(v) for k, v in row.items()}} for row in rows])

    def tables(self, step: int, tables: Sequence[Table]) -> None:
        """One line per table: `step`, `diagnostic`, `columns`, `rows`."""
        _append(
            self.diagnostics_file,
            [{"step": step, "diagnostic": t.name, "columns": t.columns, "rows": _finite(t.rows)} for t in tables],
        )

    def close(self, *, failed: bool = False) -> None:
        """Does nothing: no file is kept open between lines."""


def _finite(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in cast(Sequence[Any], value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _line(row: Mapping[str, Any]) -> str:
    # ASCII only: some characters of a response (U+2028) are line ends for some readers.
    return json.dumps(row, allow_nan=False) + "\n"


def _rows(file: Path) -> list[dict[str, Any]]:
    """The complete lines of a file that are objects with a step."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return [row for row in parse_rows(lines)[0] if isinstance(row.get("step"), int)]


def _append(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    try:
        with file.open("a", encoding="ascii") as stream:
            stream.write("".join(map(_line, rows)))
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise RunError(f"{file} could not be written: {error.strerror}") from error
