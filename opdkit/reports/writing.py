"""Writes a report's files, each atomically."""

from __future__ import annotations

import re
from pathlib import Path

from opdkit.errors import UserError
from opdkit.files import write_whole
from opdkit.reports import csv_tables, html, markdown
from opdkit.reports.document import Document
from opdkit.reports.pictures import results_picture, section_picture


def write(document: Document, folder: Path) -> Path:
    """report.html, report.md, results.csv, differences.csv, runs.csv and PNGs in `folder`. Returns the page's path.

    Replaces the files of an older report. Raises UserError if the folder can't be created, RunError if a file can't be
    written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: can't be created: {error.strerror}") from error
    pictures = _pictures(document)
    for name, (_, content) in pictures.items():
        write_whole(folder / name, content)
    files = {
        "report.md": markdown.text(document, [(title, name) for name, (title, _) in pictures.items()]),
        "results.csv": csv_tables.results(document),
        "differences.csv": csv_tables.differences(document),
        "runs.csv": csv_tables.runs(document),
        "report.html": html.page(document),
    }
    for name, text in files.items():
        write_whole(folder / name, text)
    return folder / "report.html"


def _pictures(document: Document) -> dict[str, tuple[str, bytes]]:
    """File name -> (title, PNG)."""
    pictures: dict[str, tuple[str, bytes]] = {}
    for one in document.benchmarks:
        pictures[f"results-{_safe(one.name)}.png"] = (f"Results on {one.name}", results_picture(one, document.colours))
    for section in document.sections:
        if section.charts and section.name != "other":
            pictures[f"{_safe(section.name)}.png"] = (
                section.title,
                section_picture(section, document.colours_of(section)),
            )
    return pictures


def _safe(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name)[:60]
