"""Parses the arguments of the commands that Hydra does not run; a mistake is one line with the usage."""

from __future__ import annotations

import argparse
from typing import NoReturn

from opdkit.errors import UserError


class LineParser(argparse.ArgumentParser):
    """Raises UserError where argparse would print its usage and exit.

    Args:
        command: the command, as it is typed.
        description: what it does, for --help.
        usage: its arguments, for the line of an error.
    """

    def __init__(self, command: str, description: str, usage: str) -> None:
        super().__init__(prog=command, description=description, allow_abbrev=False)
        self._line = f"{command} {usage}"

    def error(self, message: str) -> NoReturn:
        """One line instead of a usage text."""
        raise UserError(f"{message}; usage: {self._line}")
