"""`opdkit sweep`: short for `opdkit train --multirun`."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.cli import train


def run(arguments: Sequence[str]) -> int:
    """Exit status of the sweep: 1 if any job failed."""
    return train.run(["--multirun", *arguments])
