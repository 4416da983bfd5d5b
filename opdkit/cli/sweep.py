"""Implements `opdkit sweep`, which is `opdkit train --multirun`."""

from __future__ import annotations

from collections.abc import Sequence

from opdkit.cli import train


def run(arguments: Sequence[str]) -> int:
    """Exit status of the whole sweep: 1 where a job failed."""
    return train.run(["--multirun", *arguments])
