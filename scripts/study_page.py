"""Join finished studies into docs/results/study.md, their figures beside it: `study_page.py RUN_DIR [RUN_DIR ...]`.

Runs that end in `figures=no` give their text and tables only, for repeats under other settings.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results" / "study.md"
OPENING = """# Studies of the method

Written by `scripts/study_page.py` from the folders that the commands below left. Every number and verdict is computed
from their tables, by rules that stand in the code and were fixed before the first full run.
*reproduced*, *partly* and *not reproduced* speak of the paper (arXiv 2603.25562, App. D and E); *holds* and *fails* of
what a study checks or adds itself. On one core that also did other work the tabular study took half a minute,
the control study four minutes for three seeds.
"""


def main(arguments: Sequence[str]) -> None:
    """Writes the page anew."""
    if not arguments:
        sys.exit(__doc__)
    figures = PAGE.with_suffix("")
    shutil.rmtree(figures, ignore_errors=True)
    figures.mkdir(parents=True)
    PAGE.write_text("\n".join([OPENING, *(section(name, figures) for name in arguments)]), encoding="utf-8")


def section(name: str, figures: Path) -> str:
    """One study's findings, a level lower, with its links turned to the copies."""
    drawn = not name.endswith(",figures=no")
    folder = Path(name.removesuffix(",figures=no"))
    try:
        (folder / "summary.json").stat()  # written last
        text = (folder / "findings.md").read_text(encoding="utf-8")
    except OSError as error:
        sys.exit(f"{folder} is no finished study: {error.strerror} ({Path(str(error.filename)).name})")
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
