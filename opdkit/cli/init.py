"""`opdkit init DIR`: a folder to work in, with an objective, a reward, a recipe, a test and a Makefile that run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from opdkit.errors import UserError

_STARTER = Path(__file__).parent / "starter"
_PLACES = {
    "mine.py": "mine.py",
    "test_mine.py": "test_mine.py",
    "conf/objective/mine.yaml": "objective.yaml",
    "conf/experiment/mine.yaml": "experiment.yaml",
    "Makefile": "Makefile",
    "README.md": "README.md",
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; usage: opdkit init DIR")


def run(arguments: Sequence[str]) -> int:
    """Writes the files and names them. Refuses a folder that holds one of them."""
    parser = _Parser(prog="opdkit init", description="A folder of your own to start from.", allow_abbrev=False)
    parser.add_argument("folder", help="made where it is not there")
    try:
        folder = Path(parser.parse_args(list(arguments)).folder)
    except SystemExit as stop:
        return int(stop.code or 0)
    there = [name for name in _PLACES if (folder / name).exists()]
    if there:
        raise UserError(f"{folder}: already holds {there[0]}; name another folder")
    for name, source in _PLACES.items():
        file = folder / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text((_STARTER / f"{source}.txt").read_text(encoding="utf-8"), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{file}: cannot be written: {error.strerror}") from error
        print(file)
    print(f"next      cd {folder} && make test train")
    return 0
