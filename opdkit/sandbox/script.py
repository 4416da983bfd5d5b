"""The bootstrap script of sandboxed programs, concatenated from its source files."""

from __future__ import annotations

import re
from pathlib import Path

_PARTS = ("wire", "plain", "examine", "bootstrap")
_FOLDER = Path(__file__).parent
_OWN_IMPORTS = re.compile(r"^from opdkit\.sandbox\.\w+ import .*\n", re.MULTILINE)

SCRIPT = "\n".join(_OWN_IMPORTS.sub("", (_FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in _PARTS)
"""The text for `python -c`. opdkit is not importable there, so the parts' imports of each other are removed."""
