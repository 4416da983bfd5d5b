"""Files written whole. Plain Python: the terminal's side and the grading side may import it."""

from __future__ import annotations

import os
from pathlib import Path

from opdkit.errors import RunError


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, and have it on the disk: a reader finds the old one or the new one.

    Raises RunError where the disk refuses; nothing half-written stays.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror}") from error
