"""JSON lines of a run that may still be writing: what is whole is read, what is not is counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_CHUNK = 1 << 17
_MOST = 1 << 23


def whole(path: Path) -> tuple[list[dict[str, Any]], int]:
    """(the objects of a file in order, how many of its lines are no whole object). An absent file has none."""
    if not path.exists():
        return [], 0
    return _parse(path.read_bytes().split(b"\n"))


def ends(path: Path) -> list[dict[str, Any]]:
    """Objects at the beginning and at the end of a file that may be too large to read.

    At least the first and the last whole line, as far as 8 MiB from either end hold one.
    """
    if not path.exists():
        return []
    size = path.stat().st_size
    with path.open("rb") as stream:
        if size <= 2 * _CHUNK:
            return _parse(stream.read().split(b"\n"))[0]
        found: list[dict[str, Any]] = []
        for from_end in (False, True):
            length = _CHUNK
            while True:
                stream.seek(max(0, size - length) if from_end else 0)
                lines = stream.read(length).split(b"\n")
                part = _parse(lines[1:] if from_end and length < size else lines[:-1])[0]
                if part or length >= min(size, _MOST):
                    break
                length *= 2
            found += part
    return found


def _parse(lines: list[bytes]) -> tuple[list[dict[str, Any]], int]:
    rows: list[dict[str, Any]] = []
    broken = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            broken += 1
            continue
        if isinstance(row, dict):
            rows.append(row)
        else:
            broken += 1
    return rows, broken
