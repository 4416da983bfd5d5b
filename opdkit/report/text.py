"""Text that a model or a stranger wrote, made harmless and visible; numbers as type sets them.

Escaping is by type: `Markup` is escaped already and is never escaped twice.
"""

from __future__ import annotations

import re
import unicodedata

from markupsafe import Markup, escape

# Joiners that scripts and emoji need to be written right; they turn nothing around.
_HARMLESS = "\u200c\u200d"
_SUSPECT = re.compile("[^\n\t\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff]")


MINUS = "\u2212"
NOTHING = "\u2013"
"""What stands where there is no number."""


def minus(number: str) -> str:
    """A formatted number with a minus sign for its hyphen."""
    return number.replace("-", MINUS)


def visible(text: str) -> str:
    """Control, bidirectional, invisible and unpaired characters as ⟨U+202E⟩; line ends and tabs stay.

    What is left can be written as UTF-8 and reads in the order in which it stands.
    """
    return _SUSPECT.sub(lambda match: _shown(match.group()), text)


def _shown(sign: str) -> str:
    category = unicodedata.category(sign)
    if category in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") and sign not in _HARMLESS:
        return f"⟨U+{ord(sign):04X}⟩"
    return sign


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
