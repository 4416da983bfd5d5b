"""`opdkit ls [group]`: lists groups and options from file names and first lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opdkit.cli.parser import LineParser
from opdkit.config.location import description, groups, options, options_of, search_folders


def run(arguments: Sequence[str]) -> int:
    """Prints the groups, or the options of one group with their descriptions."""
    if list(arguments[:1]) == ["data"]:
        from opdkit.cli import data

        return data.run(arguments[1:])
    parser = LineParser("opdkit ls", "Lists config groups and options.", "[GROUP] [--config-dir FOLDER]")
    parser.add_argument("group", nargs="?", help="a config group, e.g. objective; `data task.path=...`: prompts")
    parser.add_argument("-cd", "--config-dir", help="folder with your own options")
    try:
        given = parser.parse_args(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    folders = search_folders(given.config_dir)
    lines = _groups(folders) if given.group is None else _options(given.group, folders)
    width = max((len(name) for name, _ in lines), default=0)
    for name, what in lines:
        print(f"{name:<{width}}  {what}".rstrip())
    return 0


def _groups(folders: Sequence[Path]) -> list[tuple[str, str]]:
    return [(group, ", ".join(options(group, folders))) for group in groups(folders)]


def _options(group: str, folders: Sequence[Path]) -> list[tuple[str, str]]:
    return [(name, description(file)) for name, file in options_of(group, folders).items()]
