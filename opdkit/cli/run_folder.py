"""Where a run's files go: chosen once, as a Path; created by whoever writes into it first."""

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
    """`<parent>/<date>/<time>-<name>`, with a number behind it where that is taken."""
    now = datetime.now()
    stem = f"{now:%H-%M-%S}-{name}" if name else f"{now:%H-%M-%S}"
    folder = parent / f"{now:%Y-%m-%d}" / stem
    number = 2
    while folder.exists():
        folder = folder.with_name(f"{stem}-{number}")
        number += 1
    return folder


def job_folder(root: Path, number: int, overrides: Sequence[str]) -> Path:
    """`<root>/<number>-<overrides>`: distinct by its number, told apart by its overrides."""
    told = [text for text in overrides if not text.lstrip("+").startswith(_NOT_IN_NAMES)]
    name = re.sub(r"[^\w.,=+-]+", "_", ",".join(told))[:_LONGEST_NAME].rstrip(".,_")
    return root / (f"{number}-{name}" if name else str(number))


def check_folder(folder: Path, *, holds: Sequence[str], resume: bool) -> None:
    """Refuses a folder that cannot be written, or that already holds a run. Creates nothing.

    holds: paths inside it that tell that the work was begun. Raises UserError.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"run_dir={folder}: is a file; name a folder")
    above = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not above.is_dir():
        raise UserError(f"run_dir={folder}: {above} is a file; name a folder")
    if not os.access(above, os.W_OK | os.X_OK):
        raise UserError(f"run_dir={folder}: no permission to write in {above}; name a folder of yours")
    begun = [name for name in holds if (folder / name).exists()]
    if begun and not resume:
        raise UserError(
            f"run_dir={folder}: already holds a run ({begun[0]}); give resume=true to go on with it, or another run_dir"
        )


def has_checkpoint(folder: Path) -> bool:
    """Whether the folder holds anything to resume from; whether it is whole is found out on loading."""
    return any((folder / "checkpoints").glob("step-*"))
