"""Resource limits of one program run."""

from __future__ import annotations

from dataclasses import dataclass

from opdkit.errors import UserError

_ALLOWED = {"seconds": (1, 600), "memory_mb": (64, 65_536), "processes": (1, 256), "files_mb": (0, 1024)}


@dataclass(frozen=True)
class Limits:
    """Limits of one run.

    Attributes:
        seconds: CPU seconds per test, including interpreter start-up.
        memory_mb: MiB of address space per process, and of resident memory of all its processes together.
        processes: maximum concurrent processes and threads.
        files_mb: maximum file size in MiB; with bubblewrap, of all files together.
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
        """Wall-clock timeout of a test, generous for busy machines."""
        return 2.0 * self.seconds + 4.0
