"""Shell completion (`opdkit -sc install=bash`) on top of Hydra's, which supports bash and fish."""

from __future__ import annotations

import os
from collections.abc import Sequence

from opdkit.cli.commands import COMMANDS
from opdkit.config.location import groups, search_folders

_ROOTS = {"train": "train", "chat": "train", "sweep": "train", "eval": "eval", "study": "study"}

# Hydra's bash function indexes from 0, so zsh can't use it. No space after a key: it ends in = and its value follows.
_ZSH = """(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_opdkit() {
  local line="${(j: :)words[1,CURRENT]}"
  local -a choices
  choices=(${=$(COMP_LINE="$line" COMP_POINT=${#line} opdkit -sc query=bash 2> /dev/null)})
  compadd -S '' -- $choices
}
compdef _opdkit opdkit"""


def run(arguments: Sequence[str]) -> int:
    """`install=<shell>` prints the completion function; `query=<shell>` answers it from COMP_LINE."""
    line = os.environ.get("COMP_LINE", "")
    if list(arguments) == ["install=zsh"]:
        print(_ZSH)
        return 0
    if not arguments or not arguments[0].startswith("query="):
        return _hydra("train", arguments)
    words = line.split()
    if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
        print(("\n" if arguments[0] == "query=fish" else " ").join(COMMANDS))
        return 0
    command = words[1]
    if command in _ROOTS:
        os.environ["COMP_LINE"] = _without_command(line, command)
        return _hydra(_ROOTS[command], arguments)
    if command == "ls":
        print(("\n" if arguments[0] == "query=fish" else " ").join(groups(search_folders(None))))
    return 0


def _without_command(line: str, command: str) -> str:
    start = line.index(command, len(line.split()[0]))
    return line[:start].rstrip() + " " + line[start + len(command) :].lstrip()


def _hydra(root: str, arguments: Sequence[str]) -> int:
    from importlib import import_module

    return import_module(f"opdkit.cli.{root}").run(["-sc", *arguments])
