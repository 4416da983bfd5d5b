"""Temporary folders that the next run deletes if their process was killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path

_LOCK = ".in-use"
# A folder younger than this may not be locked yet.
_SECONDS_TO_LOCK = 60.0


class TemporaryFolder:
    """A folder that is locked for as long as this process lives. Creating one deletes abandoned ones of its prefix.

    The kernel releases the lock when the process ends, also after SIGKILL, so an unlocked folder belongs to nobody.

    Args:
        prefix: of the folder's name.
        parent: the folder to create it in, None for the system's temporary directory.
    """

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        place = parent or Path(tempfile.gettempdir())
        for abandoned in place.glob(f"{prefix}*"):
            if _is_abandoned(abandoned):
                shutil.rmtree(abandoned, ignore_errors=True)
        self.path = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        self._lock = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Delete the folder and release its lock. Further calls do nothing."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def _is_abandoned(folder: Path) -> bool:
    """Whether a folder of this user has a lock that no process holds."""
    try:
        found = folder.lstat()
        if found.st_uid != os.getuid() or time.time() - found.st_mtime < _SECONDS_TO_LOCK:
            return False
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
