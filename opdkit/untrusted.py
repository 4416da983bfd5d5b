"""Makes untrusted text harmless: control, bidirectional and invisible characters become visible.

Tells targets that are never a choice of a configuration."""

from __future__ import annotations

import re
import sys
import unicodedata

# Joiners that scripts and emoji need; they reorder nothing.
_HARMLESS = "\u200c\u200d"
_SUSPECT = re.compile("[^\n\t\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff]")
_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def visible(text: str) -> str:
    """Control, bidirectional, invisible and unpaired characters as ⟨U+202E⟩; line ends and tabs stay.

    The result can be written as UTF-8 and reads in the order in which it stands.
    """
    return _SUSPECT.sub(lambda match: _shown(match.group()), text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in _CATEGORIES and character not in _HARMLESS:
        return f"⟨U+{ord(character):04X}⟩"
    return character


def of_pythons_library(path: str) -> bool:
    """Whether a dotted path names something of Python's standard library, which is no choice of a configuration."""
    return path.split(".")[0] in sys.stdlib_module_names
