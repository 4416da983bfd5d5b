"""Temporary folders: a killed process's folder is deleted by the next one, a living one's never."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from opdkit.temporary import TemporaryFolder

HOLDER = """
import sys, time
from pathlib import Path
from opdkit.temporary import TemporaryFolder
folder = TemporaryFolder("weights-", Path(sys.argv[1]))
print(folder.path, flush=True)
time.sleep(60)
"""


def aged(folder: Path) -> None:
    """Make a folder look two minutes old: a younger one might not be locked yet."""
    os.utime(folder, (time.time() - 120,) * 2)


@pytest.fixture
def holder(tmp_path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)


def test_the_folder_of_a_killed_process_is_deleted_and_no_other(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert holder.stdout is not None
    held, unlocked, other = Path(holder.stdout.readline().strip()), tmp_path / "weights-x", tmp_path / "models-x"
    unlocked.mkdir()
    other.mkdir()
    for folder in (held, unlocked, other):
        aged(folder)
    first = TemporaryFolder("weights-", tmp_path)
    assert held.exists()
    holder.kill()
    holder.communicate()
    TemporaryFolder("weights-", tmp_path).remove()
    assert not held.exists()
    assert unlocked.exists()
    assert other.exists()
    assert first.path.exists()
    first.remove()
    first.remove()
    assert not first.path.exists()


def test_a_folder_of_this_minute_is_left_alone(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert holder.stdout is not None
    held = Path(holder.stdout.readline().strip())
    holder.kill()
    holder.communicate()
    TemporaryFolder("weights-", tmp_path).remove()
    assert held.exists()
