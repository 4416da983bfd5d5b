"""Formats tables as markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Sequence


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]], numeric: Collection[int] = ()) -> str:
    """A markdown table without a trailing newline; columns in `numeric` are right-aligned. Cells must be escaped."""
    rule = ["---:" if index in numeric else "---" for index in range(len(columns))]
    lines = [f"| {' | '.join(row)} |" for row in (columns, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rule)}|", *lines[1:]])


def csv_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A CSV file with a header."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return stream.getvalue()
