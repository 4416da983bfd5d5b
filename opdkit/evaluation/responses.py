"""Stores responses in an append-only file that can be resumed and is rejected under other settings."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from opdkit.errors import RunError, UserError
from opdkit.files import write_whole

Row = dict[str, Any]


class ResponseFile:
    """`<stem>.responses.jsonl`, one row per response, with its settings in `<stem>.settings.json`."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.path = folder / f"{stem}.responses.jsonl"
        self._settings_path = folder / f"{stem}.settings.json"

    def open(self, settings: Mapping[str, object]) -> list[Row]:
        """The existing rows, written under the same settings; an incomplete last line is dropped.

        Raises UserError if the rows have other settings or a line before the last is damaged.
        """
        if not self.path.exists():
            write_whole(self._settings_path, json.dumps(settings, indent=2) + "\n")
            return []
        self._compare(settings)
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            os.truncate(self.path, len(whole))
        return [self._parse(number, line) for number, line in enumerate(whole.splitlines(), start=1)]

    def append(self, rows: Iterable[Row]) -> None:
        """Appends rows and syncs them to disk. Raises RunError if writing fails."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        try:
            with self.path.open("ab") as file:
                file.write(text.encode("ascii"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"{self.path}: cannot be written: {error.strerror}") from error

    def _compare(self, settings: Mapping[str, object]) -> None:
        try:
            kept = json.loads(self._settings_path.read_bytes())
        except (OSError, ValueError):
            raise UserError(
                f"{self.path}: holds responses, but their settings ({self._settings_path.name}) cannot be read; "
                f"choose another folder or remove both"
            ) from None
        wanted = json.loads(json.dumps(settings))
        if kept == wanted:
            return
        both = kept if isinstance(kept, dict) else {}
        for key in {**wanted, **both}:
            if both.get(key) != wanted.get(key):
                raise UserError(
                    f"{self.path}: holds responses of other settings: {key} was {_short(both.get(key))} "
                    f"and is {_short(wanted.get(key))}; choose another folder"
                )

    def _parse(self, number: int, line: bytes) -> Row:
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{self.path}: line {number} is damaged; remove the file to start again")
        return row


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:77] + "..."
