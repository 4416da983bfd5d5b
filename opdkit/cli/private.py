"""Hides private options, whose names begin with an underscore, from Hydra's help and completion."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

_LISTED = re.compile(r"^(\s*[\w/]+: )(.*)$")  # `objective: _algebra, topk`
_CHOICE = re.compile(r"(?:^|=|/)_[a-z]\w*$")  # `objective=_algebra`


@contextmanager
def public_names() -> Iterator[None]:
    """Context manager that buffers stdout and prints it without private options at the end."""
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            yield
    finally:
        sys.stdout.write("".join(map(public, said.getvalue().splitlines(keepends=True))))
        sys.stdout.flush()


def public(line: str) -> str:
    """A line of help or completion output without private options."""
    ending = line[len(line.rstrip("\n")) :]
    text = line.rstrip("\n")
    listed = _LISTED.match(text)
    if listed:
        names = listed.group(2).split(", ")
        return listed.group(1) + ", ".join(name for name in names if not _CHOICE.search(name)) + ending
    words = text.split(" ")
    if not any(_CHOICE.search(word) for word in words):
        return line
    kept = [word for word in words if not _CHOICE.search(word)]
    return " ".join(kept) + ending if kept else ""
