"""Defines what one run of a program may cost."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.errors import UserError

_ALLOWED = {"seconds": (1, 600), "memory_mb": (64, 65_536), "processes": (1, 256), "files_mb": (0, 1024)}


@dataclass(frozen=True)
class Limits:
    """Limits of one run.

    Attributes:
        seconds: CPU time of a test, the interpreter's start included.
        memory_mb: MiB of address space of a process, and of memory that all of its processes hold together.
        processes: processes and threads at a time.
        files_mb: MiB of a file, and of all files behind bubblewrap's wall.
    """

    seconds: int = 6
    memory_mb: int = 1024
    processes: int = 16
    files_mb: int = 16

    def __post_init__(self) -> None:
        for key, (least, most) in _ALLOWED.items():
            if not least <= getattr(self, key) <= most:
                raise UserError(f"{key}={getattr(self, key)}; allowed: {least} to {most}")

    @property
    def wall_seconds(self) -> float:
        """How long a test may take by the clock, on a machine that is busy with other things."""
        return 2.0 * self.seconds + 4.0
