"""Reads JSON Lines files that may still be written to: broken lines are skipped and counted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CHUNK = 1 << 17
_MOST = 1 << 23


def read_rows(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the objects of a file in order, the number of broken lines). Empty for a missing file."""
    return parse_rows(path.read_bytes().split(b"\n")) if path.exists() else ([], 0)


def read_ends(path: Path) -> list[dict[str, Any]]:
    """Objects at the start and end of a file that may be too large to read.

    At least the first and the last complete line, if within 8 MiB of either end.
    """
    if not path.exists():
        return []
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= 2 * _CHUNK:
            return parse_rows(stream.read().split(b"\n"))[0]
        rows: list[dict[str, Any]] = []
        for from_end in (False, True):
            length = _CHUNK
            while True:
                stream.seek(max(0, size - length) if from_end else 0)
                lines = stream.read(length).split(b"\n")
                part = parse_rows(lines[1:] if from_end and length < size else lines[:-1])[0]
                if part or length >= min(size, _MOST):
                    break
                length *= 2
            rows += part
    return rows


def parse_rows(lines: Sequence[bytes]) -> tuple[list[dict[str, Any]], int]:
    """`read_rows` of lines, ignoring blank ones."""
    rows: list[dict[str, Any]] = []
    broken = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken += 1
    return rows, broken
