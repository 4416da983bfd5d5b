"""`opdkit init DIR`: creates a working project with an objective, a reward, a recipe, a test and a Makefile."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opdkit.cli.parser import LineParser
from opdkit.errors import UserError
from opdkit.files import copy_text

_STARTER = Path(__file__).parent / "starter"
_PLACES = {
    "mine.py": "mine.py",
    "test_mine.py": "test_mine.py",
    "conf/objective/mine.yaml": "objective.yaml",
    "conf/experiment/mine.yaml": "experiment.yaml",
    "Makefile": "Makefile",
    "README.md": "README.md",
}


def run(arguments: Sequence[str]) -> int:
    """Writes the files and prints their paths. Raises UserError if one of them already exists."""
    parser = LineParser("opdkit init", "Creates a working project to start from.", "DIR")
    parser.add_argument("folder", help="created if it does not exist")
    try:
        folder = Path(parser.parse_args(list(arguments)).folder)
    except SystemExit as stop:
        return int(stop.code or 0)
    there = [name for name in _PLACES if (folder / name).exists()]
    if there:
        raise UserError(f"{folder}: already holds {there[0]}; name another folder")
    for name, source in _PLACES.items():
        file = folder / name
        copy_text(_STARTER / f"{source}.txt", file)
        print(file)
    print(f"next      cd {folder} && make test train")
    return 0
