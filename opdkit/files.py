"""Writes files atomically, and copies text files into user folders."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from opdkit.errors import RunError, UserError


def write_whole(path: Path, content: str | bytes) -> None:
    """Replaces a file atomically and syncs it to disk: readers see either the old or the new content.

    Raises RunError if the file can't be written; no partial file is left.
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
    """Replaces a folder atomically by a new one that `write` fills.

    Raises RunError if writing fails; the old folder is unchanged.
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
    """Copies a text file, creating parent folders. Raises UserError if it can't be written."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{target}: cannot be written: {error.strerror}") from error
