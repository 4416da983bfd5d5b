"""Writes files atomically."""

from __future__ import annotations

import os
from pathlib import Path

from opdkit.errors import RunError


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file in one step and syncs it to the disk: a reader finds the old content or the new.

    Raises RunError where the file can't be written; no partial file stays.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror}") from error
