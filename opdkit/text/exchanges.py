"""Records exchanges as JSON lines, which also serve as the cache of a resumed run."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opdkit.errors import RunError
from opdkit.text.base import Chat


@dataclass(frozen=True)
class Reply:
    """The reply to one chat.

    Attributes:
        text: the answer, None if it failed.
        error: the reason of a failure.
        lasting: False if a retry may help (a timeout, a busy server), so that the reply is not reused.
        prompt_tokens: prompt tokens, as counted by the model.
        completion_tokens: completion tokens.
        seconds: time from the first request to the reply, waiting included.
        attempts: number of requests sent.
    """

    text: str | None
    error: str | None = None
    lasting: bool = True
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    attempts: int = 1


def exchange_key(fingerprint: Mapping[str, object], chat: Chat) -> str:
    """A hash of the model and the full request.

    Args:
        fingerprint: everything besides the chat that determines the model's answers, as plain values.
        chat: the chat.
    """
    asked = {
        "model": dict(fingerprint),
        "messages": [[message.role, message.content] for message in chat.messages],
        "seed": chat.seed,
        "schema": chat.schema,
        "temperature": chat.temperature,
    }
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode("ascii")).hexdigest()


class ExchangeLog:
    """Appends exchanges to a file and finds them again by key.

    Each line is synced to disk before its answer is used. A killed run loses at most the line being written, which the
    next opening truncates. Memory holds one file offset per exchange, not its text.

    Args:
        file: output file; None keeps nothing.

    Attributes:
        requests: requests sent so far, by this run and earlier ones with the same file.
        tokens: prompt and completion tokens so far, likewise.
    """

    def __init__(self, file: Path | None) -> None:
        self.requests = 0
        self.tokens = 0
        self._file = file
        self._places: dict[str, int] = {}
        self._lock = threading.Lock()
        if file is not None:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._read(file)
            except OSError as error:
                raise RunError(f"{file} could not be opened: {error.strerror}") from error

    def find(self, key: str) -> Reply | None:
        """The lasting reply to an exchange, None if there is none yet."""
        place = self._places.get(key)
        if place is None or self._file is None:
            return None
        with self._file.open("rb") as stream:
            stream.seek(place)
            row = _row(stream.readline())
        return None if row is None else Reply(row["answer"], row["error"])

    def append(self, key: str, model: str, chat: Chat, reply: Reply) -> None:
        """Appends an exchange. Raises RunError if writing fails."""
        row = {
            "key": key,
            "model": model,
            "messages": [{"role": message.role, "content": message.content} for message in chat.messages],
            "seed": chat.seed,
            "temperature": chat.temperature,
            "schema": chat.schema,
            "answer": reply.text,
            "error": reply.error,
            "lasting": reply.lasting,
            "prompt_tokens": reply.prompt_tokens,
            "completion_tokens": reply.completion_tokens,
            "seconds": round(reply.seconds, 3),
            "attempts": reply.attempts,
        }
        with self._lock:
            self._count(row)
            if self._file is None:
                return
            try:
                with self._file.open("ab") as stream:
                    place = stream.tell()
                    stream.write(json.dumps(row).encode("ascii") + b"\n")
                    stream.flush()
                    os.fsync(stream.fileno())
            except OSError as error:
                raise RunError(f"{self._file} could not be written: {error.strerror}") from error
            if reply.lasting:
                self._places[key] = place

    def _read(self, file: Path) -> None:
        """Indexes complete lines; truncates an incomplete last line."""
        if not file.exists():
            return
        end = 0
        for place, line in _lines(file):
            if not line.endswith(b"\n"):
                break
            end = place + len(line)
            row = _row(line)
            if row is None:
                continue
            self._count(row)
            if row["lasting"]:
                self._places[row["key"]] = place
        if end < file.stat().st_size:
            os.truncate(file, end)

    def _count(self, row: Mapping[str, Any]) -> None:
        self.requests += row["attempts"]
        self.tokens += row["prompt_tokens"] + row["completion_tokens"]


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    place = 0
    with file.open("rb") as stream:
        for line in stream:
            yield place, line
            place += len(line)


_KINDS: Mapping[str, tuple[type, ...]] = {
    "key": (str,),
    "answer": (str, type(None)),
    "error": (str, type(None)),
    "lasting": (bool,),
    "prompt_tokens": (int,),
    "completion_tokens": (int,),
    "attempts": (int,),
}


def _row(line: bytes) -> dict[str, Any] | None:
    """A line's object, None if it is not an exchange."""
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    whole = isinstance(row, dict) and all(isinstance(row.get(name, ...), kind) for name, kind in _KINDS.items())
    return row if whole else None
