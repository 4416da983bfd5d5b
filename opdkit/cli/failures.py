"""Passes failures of sweep jobs from their processes to the parent."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from opdkit.files import write_whole


class Failures:
    """One file per failed job in `<sweep>/failures`; the folder does not exist if none failed."""

    def __init__(self, sweep: Path) -> None:
        self._folder = sweep / "failures"

    def forget(self) -> None:
        """Deletes failures recorded by an earlier start of the sweep."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def note(self, number: int, overrides: Sequence[str], message: str) -> str:
        """Records that job `number` failed. Returns the line that reports it."""
        line = f"job {number} ({' '.join(overrides)}): {' '.join(message.split())}"
        self._folder.mkdir(parents=True, exist_ok=True)
        content = {"job": number, "overrides": list(overrides), "line": line}
        write_whole(self._folder / f"{number}.json", json.dumps(content, indent=1) + "\n")
        return line

    def lines(self) -> list[str]:
        """One line per failed job, in job order."""
        found = [json.loads(file.read_text(encoding="utf-8")) for file in self._folder.glob("*.json")]
        return [str(one["line"]) for one in sorted(found, key=lambda one: int(one["job"]))]
