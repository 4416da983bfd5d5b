"""The script that starts a program inside its sandbox, put together from the files that are its parts."""

from __future__ import annotations

import re
from pathlib import Path

_PARTS = ("wire", "plain", "examine", "inside")
_FOLDER = Path(__file__).parent
_OWN_IMPORTS = re.compile(r"^from opdkit\.sandbox\.\w+ import .*\n", re.MULTILINE)

SCRIPT = "\n".join(_OWN_IMPORTS.sub("", (_FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in _PARTS)
"""Its text: what `python -c` runs. Nothing of opdkit is there, so the parts' imports of each other are left out."""
