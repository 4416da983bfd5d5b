"""Escapes untrusted text for HTML, markdown and CSV, and typesets numbers.

Escaping is by type: `Markup` is already escaped and is never escaped twice.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from opdkit.untrusted import visible

MINUS = "\u2212"
NOTHING = "\u2013"
"""Shown in place of a missing number."""


def minus(number: str) -> str:
    """A formatted number with a minus sign instead of the hyphen."""
    return number.replace("-", MINUS)


def html(text: str) -> Markup:
    """Visible and escaped, for the page: between tags and in quoted attributes."""
    return escape(visible(text))


def line(text: str) -> str:
    """Visible and on one line."""
    return visible(" ".join(text.split()))


def markdown(text: str) -> str:
    """Visible, on one line, with markdown and HTML syntax escaped: for a table cell."""
    return re.sub(r"[\\`*_{}\[\]<>#|~&$!]", lambda match: f"&#{ord(match.group())};", line(text))


def cell(text: str) -> str:
    """One line for a CSV cell; text that a spreadsheet would read as a formula is quoted."""
    shown = line(text)
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown
