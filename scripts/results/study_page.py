"""Combine finished studies and their figures into docs/results/study.md: `study_page.py RUN_DIR [RUN_DIR ...]`.

With `,figures=no` after its name, a run contributes only its text and tables.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "results" / "study.md"
_WITHOUT = ",figures=no"
OPENING = """# Studies of the method

Written by `scripts/results/study_page.py` from the output folders of the commands below. Every number and verdict is
computed from their tables by rules in the code that were fixed before the first full run. *reproduced*, *partly* and
*not reproduced* refer to the paper (arXiv 2603.25562, App. D and E); *holds* and *fails* to a study's own checks and
additions. On one busy core the tabular study took half a minute, the control study four minutes for three seeds.

The control study's teacher settings were chosen by looking at the teachers alone; the student's were chosen once and
not changed. The other learning rate, SGD and the teachers without effort, which jump to the goal in one step, were
listed before any of them was run; ten seeds were added because one of three had drifted with the jumping teachers. The
remarks on single seeds and non-finite numbers were added later and change no verdict here.
"""


def main(arguments: Sequence[str]) -> None:
    """Rewrites the page."""
    if not arguments:
        sys.exit(__doc__)
    figures = PAGE.with_suffix("")
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    sections = [section(name, figures) for name in arguments]
    PAGE.write_text("\n".join([OPENING, overview(arguments), *sections]), encoding="utf-8")


def overview(arguments: Sequence[str]) -> str:
    """Each command with the paper's claims that its run did or did not reproduce."""
    lines = ["| command | reproduced | partly | not reproduced |", "|---|---|---|---|"]
    for name in arguments:
        folder = folder_of(name)
        command = next(
            line for line in (folder / "findings.md").read_text("utf-8").splitlines() if line.startswith("`")
        )
        claims = json.loads((folder / "summary.json").read_text("utf-8"))["claims"]
        by_verdict = [
            "; ".join(claim["claim"].split(": ")[0] for claim in claims if claim["verdict"] == verdict)
            for verdict in ("reproduced", "partly", "not reproduced")
        ]
        lines.append("| " + " | ".join([command, *by_verdict]) + " |")
    return "\n".join(lines) + "\n"


def folder_of(name: str) -> Path:
    return Path(name.removesuffix(_WITHOUT))


def section(name: str, figures: Path) -> str:
    """One study's findings with headings one level lower and links to the copies."""
    drawn = not name.endswith(_WITHOUT)
    folder = folder_of(name)
    try:
        (folder / "summary.json").stat()  # written last
        text = (folder / "findings.md").read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"{folder} is not a finished study: {error.strerror} ({Path(str(error.filename)).name})")
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    text = re.sub(r"\n\(\[[^\n]*\.csv\)\)\n", "\n", text)
    text = re.sub(r"\[([^]\n]*\.csv)\]\([^)]*\.csv\)", r"`\1`", text)
    if not drawn:
        return re.sub(r"!\[[^\n]*\n\n[^\n]*\n\n?", "", text)
    for picture in folder.glob("*.png"):
        shutil.copyfile(picture, figures / f"{folder.name}-{picture.name}")
    return re.sub(r"!\[([^]]*)\]\(([^)]*\.png)\)", rf"![\1]({figures.name}/{folder.name}-\2)", text)


if __name__ == "__main__":
    main(sys.argv[1:])
