"""Escapes untrusted text for HTML, markdown and CSV, and typesets numbers.

Escaping is by type: `Markup` is already escaped and is never escaped twice.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from opdkit.untrusted import visible

MINUS = "\u2212"
NOTHING = "\u2013"
"""What stands where there is no number."""


def minus(number: str) -> str:
    """A formatted number with a minus sign for its hyphen."""
    return number.replace("-", MINUS)


def html(text: str) -> Markup:
    """Visible and escaped, for the page: between tags and in quoted attributes."""
    return escape(visible(text))


def line(text: str) -> str:
    """Visible and on one line."""
    return visible(" ".join(text.split()))


def markdown(text: str) -> str:
    """Visible, on one line, with nothing that markdown or HTML would obey: for a cell of a table."""
    return re.sub(r"[\\`*_{}\[\]<>#|~&$!]", lambda match: f"&#{ord(match.group())};", line(text))


def cell(text: str) -> str:
    """One line for a cell of a CSV file; a sign that a spreadsheet takes for a formula is quoted."""
    shown = line(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
