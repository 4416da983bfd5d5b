"""`opdkit report RUNS...`: compares runs on one self-contained page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from opdkit.cli.parser import LineParser


def run(arguments: Sequence[str]) -> int:
    """Writes the report and prints its path; skipped runs go to stderr, one line each."""
    parser = LineParser(
        "opdkit report",
        "Compares runs: results with intervals, paired differences, curves, rollouts, on one page.",
        "RUNS... [--out FOLDER] [--wandb]",
    )
    parser.add_argument("runs", nargs="+", help="run folders, folders above them, or globs")
    parser.add_argument("-o", "--out", default="report", help="folder for report.html, .md, .csv and .png (report)")
    parser.add_argument("--wandb", action="store_true", help="also log the page, tables and figures as a W&B run")
    try:
        given = parser.parse_args(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    from opdkit.config.catalogue import objectives
    from opdkit.reports.document import collect
    from opdkit.reports.prose import plural, title
    from opdkit.reports.text import line
    from opdkit.reports.writing import write

    def note(text: str) -> None:
        print(f"opdkit: {line(text)}", file=sys.stderr)

    document = collect(given.runs, objectives())
    for remark in document.remarks:
        note(remark)
    page = write(document, Path(given.out))
    print(f"{plural(len(document.runs), 'run')}, {plural(len(document.configurations), 'configuration')}: {page}")
    if given.wandb:
        from opdkit.loggers.wandb_report import publish

        publish(page.parent, title(document), note)
    return 0
