"""metrics.jsonl: JSON on every line, one object a step, whole after a kill."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from opdkit.data.table import Table
from opdkit.errors import RunError
from opdkit.loggers import Jsonl, open_loggers


def read(file: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in file.read_text().splitlines()]


def test_not_finite_is_null(tmp_path: Path) -> None:
    logger = Jsonl().open(tmp_path, {}, 0)
    logger.log(1, {"a": math.nan, "b": math.inf, "c": -math.inf, "d": 0.5, "e": 3})
    logger.samples(1, [{"reward": math.nan, "text": "\u2028\ud800"}])
    assert read(tmp_path / "metrics.jsonl") == [{"step": 1, "a": None, "b": None, "c": None, "d": 0.5, "e": 3}]
    (sample,) = read(tmp_path / "samples.jsonl")
    assert sample["reward"] is None


def test_a_resumed_run_drops_what_came_later_and_half_lines(tmp_path: Path) -> None:
    logger = Jsonl().open(tmp_path, {}, 0)
    for step in range(5):
        logger.log(step, {"x": step})
        logger.samples(step, [{"n": 0}, {"n": 1}])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "x"')
    again = Jsonl().open(tmp_path, {}, 2)
    assert [row["step"] for row in read(tmp_path / "metrics.jsonl")] == [0, 1, 2]
    assert [row["step"] for row in read(tmp_path / "samples.jsonl")] == [0, 0, 1, 1, 2, 2]
    again.log(3, {"x": 30})
    assert read(tmp_path / "metrics.jsonl")[-1] == {"step": 3, "x": 30}


def test_a_line_that_is_whole_but_no_object_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n[]\n\x00\xff\n7\n{"x": 1}\n{"step": "2"}\n{"step": 2}\n')
    Jsonl().open(tmp_path, {}, 9)
    assert read(tmp_path / "metrics.jsonl") == [{"step": 1}, {"step": 2}]


def test_a_new_run_starts_both_files(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    Jsonl().open(tmp_path, {}, 0)
    assert (tmp_path / "metrics.jsonl").read_bytes() == b""
    assert (tmp_path / "samples.jsonl").read_bytes() == b""


def test_one_object_a_step(tmp_path: Path) -> None:
    logger = Jsonl().open(tmp_path, {}, 0)
    logger.log(0, {"before": 1})
    logger.log(1, {"loss": 2})
    logger.log(0, {"before": 1})  # a resumed run evaluates again
    logger.log(1, {"after": 3})
    assert read(tmp_path / "metrics.jsonl") == [{"step": 0, "before": 1}, {"step": 1, "loss": 2, "after": 3}]


def test_tables_are_lines_of_their_own_and_a_resumed_run_drops_the_later_ones(tmp_path: Path) -> None:
    logger = Jsonl().open(tmp_path, {}, 0)
    for step in (1, 2):
        logger.tables(step, [Table("gap", ("text", "mean"), (("<", math.nan), ("\u2028", -1.5)))])
    first, _ = read(tmp_path / "diagnostics.jsonl")
    rows = [["<", None], ["\u2028", -1.5]]
    assert first == {"step": 1, "diagnostic": "gap", "columns": ["text", "mean"], "rows": rows}
    Jsonl().open(tmp_path, {}, 1)
    assert read(tmp_path / "diagnostics.jsonl") == [first]


def test_a_full_disk_ends_the_run_in_one_line(tmp_path: Path) -> None:
    logger = Jsonl().open(tmp_path, {}, 0)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match=r"metrics\.jsonl could not be written: No space left on device"):
        logger.log(1, {"x": 1})


class Recorder:
    def __init__(self) -> None:
        self.closed: list[bool] = []

    def open(self, folder: Path, resolved: Any, done: int) -> Any:
        return self

    def log(self, step: int, metrics: Any) -> None: ...

    def samples(self, step: int, rows: Any) -> None: ...

    def tables(self, step: int, tables: Any) -> None: ...

    def close(self, *, failed: bool = False) -> None:
        self.closed.append(failed)


def test_all_are_closed_whatever_happens(tmp_path: Path) -> None:
    one, two = Recorder(), Recorder()
    with pytest.raises(KeyError), open_loggers({"one": one, "two": two}, tmp_path, {}):
        raise KeyError
    assert (one.closed, two.closed) == ([True], [True])
    with open_loggers({"one": one}, tmp_path, {}):
        pass
    assert one.closed == [True, False]
