"""`opdkit cp GROUP/OPTION`: copies an option into your own config folder for editing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opdkit.cli.parser import LineParser
from opdkit.config.location import conf_dir, options_of
from opdkit.config.near import refusal
from opdkit.errors import UserError
from opdkit.files import copy_text


def run(arguments: Sequence[str]) -> int:
    """Copies the file under a new name, since opdkit's options take precedence, and prints how to select it."""
    parser = LineParser("opdkit cp", "Copies an option for editing.", "GROUP/OPTION [--to FOLDER] [--as NAME]")
    parser.add_argument("option", help="for example objective/topk")
    parser.add_argument("--to", default="conf", help="your own config folder (conf)")
    parser.add_argument("--as", dest="name", help="name of the copy (my_<option>)")
    try:
        given = parser.parse_args(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    group, _, option = given.option.strip("/").rpartition("/")
    if not group:
        raise UserError(f"{given.option}: not an option; write GROUP/OPTION, for example objective/topk")
    known = options_of(group, (conf_dir(),))
    if option not in known:
        raise UserError(refusal(f"{group}/{option}", "no such option", option, known))
    name = given.name or f"my_{option}"
    if name in known or not name.isidentifier():
        raise UserError(f"--as {name}: must be a name of letters, digits and _ that opdkit's own options do not have")
    file = Path(given.to) / group / f"{name}.yaml"
    if file.exists():
        raise UserError(f"{file}: already exists; name the copy with --as")
    copy_text(known[option], file)
    root = "eval" if group == "benchmark" else "train"
    print(f"{file}\nnext      opdkit {root} --config-dir {given.to} {group}={name}")
    return 0
