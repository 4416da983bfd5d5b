"""Makes untrusted text harmless: control, bidirectional and invisible characters become visible.

Also recognises `_target_`s that a configuration may never name."""

from __future__ import annotations

import re
import sys
import unicodedata

# Joiners needed by scripts and emoji; they do not reorder text.
_HARMLESS = "\u200c\u200d"
_SUSPECT = re.compile("[^\n\t\x20-\x7e\u00a0-\u00ac\u00ae-\u02ff]")
_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def visible(text: str) -> str:
    """Control, bidirectional, invisible and unpaired characters as ⟨U+202E⟩; line ends and tabs stay.

    The result is valid UTF-8 and displays in logical order.
    """
    return _SUSPECT.sub(lambda match: _shown(match.group()), text)


def _shown(character: str) -> str:
    if unicodedata.category(character) in _CATEGORIES and character not in _HARMLESS:
        return f"⟨U+{ord(character):04X}⟩"
    return character


def of_pythons_library(path: str) -> bool:
    """Whether a dotted path is in Python's standard library, which a configuration may not name."""
    return path.split(".")[0] in sys.stdlib_module_names
