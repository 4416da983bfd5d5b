"""Argument parser of the commands that do not use Hydra; errors are one line with the usage."""

from __future__ import annotations

import argparse
from typing import NoReturn

from opdkit.errors import UserError


class LineParser(argparse.ArgumentParser):
    """An ArgumentParser that raises UserError instead of printing its usage and exiting.

    Args:
        command: the command as typed.
        description: what it does, for --help.
        usage: its arguments, for error messages.
    """

    def __init__(self, command: str, description: str, usage: str) -> None:
        super().__init__(prog=command, description=description, allow_abbrev=False)
        self._line = f"{command} {usage}"

    def error(self, message: str) -> NoReturn:
        """Raises a one-line error instead of printing the usage."""
        raise UserError(f"{message}; usage: {self._line}")
