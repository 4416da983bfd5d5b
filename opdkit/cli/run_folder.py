"""Chooses the run folder; it is created by the first writer."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from opdkit.errors import UserError

_LONGEST_NAME = 100
_NOT_IN_NAMES = ("run_dir=", "resume=", "hydra")


def new_folder(parent: Path, name: str) -> Path:
    """`<parent>/<date>/<time>-<name>`, with a numeric suffix if it exists."""
    now = datetime.now()
    stem = f"{now:%H-%M-%S}-{name}" if name else f"{now:%H-%M-%S}"
    folder = parent / f"{now:%Y-%m-%d}" / stem
    number = 2
    while folder.exists():
        folder = folder.with_name(f"{stem}-{number}")
        number += 1
    return folder


def job_folder(root: Path, number: int, overrides: Sequence[str]) -> Path:
    """`<root>/<number>-<key>_<value>-...`: unique by number, readable by its overrides.

    Uses only characters that need no quoting in a shell or an override, so that the path can be typed.
    """
    told = [text for text in overrides if not text.lstrip("+").startswith(_NOT_IN_NAMES)]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", "-".join(told))[:_LONGEST_NAME].rstrip("._-")
    return root / (f"{number}-{name}" if name else str(number))


def check_writable(folder: Path) -> None:
    """Raises UserError for a folder that cannot be created or written. Creates nothing."""
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir():
        raise UserError(f"run_dir={folder}: {above} is a file; name a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"run_dir={folder}: no permission to write in {above}; name another folder")
