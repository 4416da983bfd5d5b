"""Parses the flags that `opdkit train`, `eval` and `study` share, before Hydra sees them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from opdkit.config.near import near_miss
from opdkit.config.schema import OPTIONAL_GROUPS
from opdkit.errors import UserError

_NULLS = {f"{group}=null": f"{group}=none" for group in OPTIONAL_GROUPS}
_FLAGS = (
    "--help",
    "--hydra-help",
    "--cfg",
    "--resolve",
    "--package",
    "--multirun",
    "--config-dir",
    "--info",
    "--dry-run",
)


@dataclass(frozen=True)
class Request:
    """A parsed command line. `shows`: Hydra prints the configuration and nothing runs; `lists`: it prints the available
    choices, for help or completion."""

    root: str
    overrides: tuple[str, ...]
    flags: tuple[str, ...]
    config_dir: str | None
    multirun: bool
    shows: bool
    composes: bool
    lists: bool

    @property
    def argv(self) -> list[str]:
        """Arguments for Hydra's parser, which does not accept flags after overrides."""
        return [*self.flags, *self.overrides]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def read(root: str, arguments: Sequence[str]) -> Request:
    """Parses the command line of `opdkit <root>`. Raises UserError for an unknown flag."""
    parser = _parser()
    known, unknown = parser.parse_known_intermixed_args(list(arguments))
    if unknown:
        raise UserError(f"{unknown[0]}: no such flag; allowed: {', '.join(_FLAGS)}{near_miss(unknown[0], _FLAGS)}")
    modes = [name for name in ("help", "hydra_help", "cfg", "info", "shell_completion") if getattr(known, name)]
    if len(modes) > 1:
        raise UserError(f"--{modes[1].replace('_', '-')}: cannot be combined with --{modes[0].replace('_', '-')}")
    return Request(
        root=root,
        overrides=tuple(_NULLS.get(text, text) for text in map(str, known.overrides)),
        flags=tuple(_flags(known)),
        config_dir=known.config_dir,
        multirun=known.multirun and not modes,
        shows=bool(modes),
        composes=modes not in (["hydra_help"], ["shell_completion"]),
        lists=modes in (["help"], ["shell_completion"]),
    )


def _parser() -> _Parser:
    parser = _Parser(prog="opdkit", add_help=False, allow_abbrev=False)
    for short, name in (("-h", "--help"), ("-m", "--multirun"), ("-sc", "--shell-completion")):
        parser.add_argument(short, name, action="store_true")
    for name in ("--hydra-help", "--resolve"):
        parser.add_argument(name, action="store_true")
    parser.add_argument("-c", "--cfg", choices=["job", "hydra", "all"])
    parser.add_argument("-p", "--package")
    parser.add_argument("-cd", "--config-dir")
    parser.add_argument("-i", "--info", choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"])
    parser.add_argument("overrides", nargs="*")
    return parser


def _flags(known: argparse.Namespace) -> list[str]:
    flags: list[str] = []
    for name in ("help", "hydra_help", "resolve", "multirun", "shell_completion"):
        if getattr(known, name):
            flags.append("--" + name.replace("_", "-"))
    for name in ("cfg", "package", "info"):
        if getattr(known, name):
            flags += ["--" + name, getattr(known, name)]
    if known.config_dir is not None:
        flags += ["--config-dir", str(Path(known.config_dir).resolve())]
    return flags


def make_importable(config_dir: str | None) -> None:
    """Adds the working directory to the import path, so that user options can refer to user classes."""
    here = str(Path.cwd())
    if config_dir is not None and here not in sys.path:
        sys.path.append(here)
