"""`opdkit bench`: speed and memory beside other projects, measured on this machine."""

from __future__ import annotations

from collections.abc import Sequence


def run(arguments: Sequence[str]) -> int:
    """Measures what was asked for. Returns 0, also where a peer is not installed: its rows say so."""
    from opdkit.bench import command

    return command.main(arguments)
