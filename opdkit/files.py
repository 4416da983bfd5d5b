"""Writes files atomically, and copies text into folders of the user's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from opdkit.errors import RunError, UserError


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


def write_folder(target: Path, write: Callable[[Path], None]) -> None:
    """Replaces a folder by what `write` puts into an empty one beside it: an interruption leaves no part of one.

    Raises RunError where the disk refuses; the old folder stays as it is.
    """
    beside = target.with_name(f".writing-{target.name}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        write(beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    except OSError as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise RunError(f"{target} could not be written: {error}") from error


def copy_text(source: Path, target: Path) -> None:
    """Copies a text file, and makes the folders above the copy. Raises UserError where it can't be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
