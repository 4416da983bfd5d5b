"""Writes a report's files, each whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from opdkit.errors import RunError, UserError
from opdkit.report import csv_tables, html, markdown, png
from opdkit.report.document import Document


def write(document: Document, folder: Path, note: Callable[[str], None]) -> Path:
    """report.html, report.md, results.csv, differences.csv, runs.csv and PNGs in `folder`. Returns the page's path.

    Files of an older report there are replaced. Raises UserError where the folder can't be made, RunError where a file
    can't be written. `note` is told in one line where pictures could not be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: can't be made: {error.strerror}") from error
    pictures = _pictures(document)
    if not png.available():
        note("no PNG: matplotlib is missing (pip install 'opdkit[report]')")
    for name, (_, content) in pictures.items():
        _replace(folder / name, content)
    files = {
        "report.md": markdown.text(document, [(title, name) for name, (title, _) in pictures.items()]),
        "results.csv": csv_tables.results(document),
        "differences.csv": csv_tables.differences(document),
        "runs.csv": csv_tables.runs(document),
        "report.html": html.page(document),
    }
    for name, text in files.items():
        _replace(folder / name, text.encode())
    return folder / "report.html"


def _pictures(document: Document) -> dict[str, tuple[str, bytes]]:
    """File name -> (title, PNG)."""
    if not png.available():
        return {}
    found: dict[str, tuple[str, bytes]] = {}
    for one in document.benchmarks:
        found[f"results-{_safe(one.name)}.png"] = (f"Results on {one.name}", png.results(one, document.colours))
    for section in document.sections:
        if section.charts and section.name != "other":
            found[f"{_safe(section.name)}.png"] = (section.title, png.section(section, document.colours))
    return found


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60]


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.writing")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RunError(f"{path} could not be written: {error.strerror}") from error
