"""Reads rows of local data files with their source positions."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdkit.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Source position of a row, for messages: a file or dataset, and a line or row number from 1."""

    origin: str
    unit: str
    number: int

    def __str__(self) -> str:
        return f"{self.origin}, {self.unit} {self.number}"


def read_file(path: Path) -> Iterator[tuple[Place, Row]]:
    """The rows of a json, jsonl, csv or parquet file. Raises UserError with the file and, if possible, the line."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: files of kind {path.suffix or '(none)'} are not read; allowed: {', '.join(_READERS)}")
    if path.is_dir():
        raise UserError(f"{path}: is a folder; allowed: a file ({', '.join(_READERS)})")
    if not path.exists():
        raise UserError(f"{path}: no such file")
    try:
        yield from reader(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 text (byte {error.start})") from None


def _jsonl(path: Path) -> Iterator[tuple[Place, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            place = Place(str(path), "line", number)
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except UnicodeDecodeError:
                raise UserError(f"{place}: is not UTF-8 text") from None
            except ValueError as error:
                raise UserError(f"{place}: is not JSON: {error}") from None
            yield place, _object(row, place)


def _json(path: Path) -> Iterator[tuple[Place, Row]]:
    try:
        value = json.loads(path.read_text("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}, line {error.lineno}: is not JSON: {error.msg}") from None
    if isinstance(value, dict):  # {"data": [...]}, as some tools wrap their rows
        lists = [inner for inner in value.values() if isinstance(inner, list)]
        value = lists[0] if len(lists) == 1 else value
    if not isinstance(value, list):
        raise UserError(f"{path}: holds no list of rows")
    for number, row in enumerate(value, start=1):
        place = Place(str(path), "row", number)
        yield place, _object(row, place)


def _csv(path: Path) -> Iterator[tuple[Place, Row]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                place = Place(str(path), "line", reader.line_num)
                if None in row:
                    raise UserError(f"{place}: has more values than the header has columns")
                yield place, {name: value for name, value in row.items() if value is not None}
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: is not CSV: {error}") from None


def _parquet(path: Path) -> Iterator[tuple[Place, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise UserError(f"{path}: is not a readable parquet file: {str(error).splitlines()[0]}") from None
    for number, row in enumerate(table.to_pylist(), start=1):
        yield Place(str(path), "row", number), row


def _object(row: object, place: Place) -> Row:
    if not isinstance(row, dict):
        raise UserError(f"{place}: is {type(row).__name__}, not an object with columns")
    return row


_READERS: dict[str, Callable[[Path], Iterator[tuple[Place, Row]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
SUFFIXES = tuple(_READERS)
