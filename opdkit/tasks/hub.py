"""Reads rows of a local file, or of a dataset on the Hugging Face Hub through `datasets`."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from opdkit.errors import UserError
from opdkit.hub import cache_where_unreachable
from opdkit.tasks.files import SUFFIXES, Place, Row, read_file


def rows_of(path: str, subset: str | None, split: str) -> Iterator[tuple[Place, Row]]:
    """The rows of a local file, or of a Hub dataset if `path` does not look like a file. Raises UserError."""
    return read_file(Path(path).expanduser()) if looks_local(path) else read_hub(path, subset, split)


def read_rows(path: str, subset: str | None, split: str, limit: int | None) -> list[tuple[Place, Row]]:
    """The first `limit` rows, None for all. Raises UserError if there are none."""
    rows = list(islice(rows_of(path, subset, split), limit))
    if not rows:
        raise UserError(f"{path}: holds no rows")
    return rows


def looks_local(path: str) -> bool:
    """Whether `path` names a file rather than a Hub dataset."""
    file = Path(path).expanduser()
    return file.suffix.lower() in SUFFIXES or path.startswith((".", "/", "~")) or file.exists()


def read_hub(name: str, subset: str | None, split: str) -> Iterator[tuple[Place, Row]]:
    """The rows of a split, from the local cache if present.

    Raises UserError for an unknown name, subset or split and if the Hub is unreachable. No code from the Hub is ever
    run.
    """
    import datasets

    origin = f"{name} ({subset}, {split})" if subset else f"{name} ({split})"
    try:
        with cache_where_unreachable():
            data = datasets.load_dataset(name, subset, split=split)
    except ValueError as error:
        raise UserError(f"{origin}: cannot be loaded: {_first_line(error)}{_near(split, str(error))}") from None
    except Exception as error:  # the Hub client raises its own, requests' and httpx's errors
        raise UserError(
            f"{origin}: cannot be loaded from the hub ({type(error).__name__}: {_first_line(error)}); "
            f"name a local file with path=... instead"
        ) from None
    for number, row in enumerate(data, start=1):
        yield Place(origin, "row", number), dict(row)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    line = " ".join(text.splitlines()[:2]) if text else type(error).__name__  # the second line names the subsets
    return line if len(line) <= 200 else line[:197] + "..."


def _near(wanted: str, message: str) -> str:
    words = [word.strip("'\",.[]()") for word in message.split()]
    near = difflib.get_close_matches(wanted, [word for word in words if word != wanted], n=1)
    return f" (did you mean {near[0]}?)" if near else ""
