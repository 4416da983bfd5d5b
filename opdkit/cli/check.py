"""`opdkit check`: composes and binds every option and every experiment; loads no weight."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NoReturn

from opdkit.cli.arguments import make_importable
from opdkit.config import schema
from opdkit.config.build import Origin, build_evaluation, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.config.location import groups, options
from opdkit.errors import UserError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; usage: opdkit check [--config-dir FOLDER]")


def run(arguments: Sequence[str]) -> int:
    """Prints a line for each choice. Returns 1 where one does not compose or bind."""
    parser = _Parser(prog="opdkit check", description="Checks every option and experiment.", allow_abbrev=False)
    parser.add_argument("-cd", "--config-dir", help="a folder with options of your own")
    try:
        own = parser.parse_args(list(arguments)).config_dir
    except SystemExit as stop:
        return int(stop.code or 0)
    make_importable(own)
    failed = 0
    for root, choice in choices(own):
        problem = check_one(Source(root, own), [*choice, *placeholders(choice)])
        failed += problem is not None
        told = f"{root} {' '.join(choice)}".strip()
        print(f"ok    {told}" if problem is None else f"FAIL  {told}: {problem}")
    print("all fine" if not failed else f"{failed} failed")
    return 1 if failed else 0


def choices(own: str | None) -> Iterator[tuple[str, list[str]]]:
    """Each root as it is, then with each option of each of its groups."""
    folders = Source("train", own).folders
    roots = {"train": (*schema.TRAIN_GROUPS, "logger", "paths", "experiment", "hparams_search", "debug")}
    roots["eval"] = (*schema.EVAL_GROUPS, "paths")
    for root, names in roots.items():
        yield root, []
        for group in groups(folders):
            if group in names:
                yield from ((root, [f"{group}={option}"]) for option in options(group, folders))


def placeholders(choice: Sequence[str]) -> list[str]:
    """`model=local` and the like leave their path to the user: any name will do to bind them."""
    return [f"{text.split('=')[0]}.path=somewhere" for text in choice if text in _NEED_A_PATH]


_NEED_A_PATH = ("model=local", "teacher=local", "task=records", "benchmark=records")


def check_one(source: Source, overrides: Sequence[str]) -> str | None:
    """What is wrong with a configuration, None where nothing is."""
    try:
        config = compose(source, overrides, with_hydra=True)
        chosen = {str(key): str(value) for key, value in config.hydra.runtime.choices.items()}
        origin = Origin(overrides, chosen, source.folders)
        del config.__dict__["_content"]["hydra"]
        build = build_experiment if source.root == "train" else build_evaluation
        build(config, origin)
    except UserError as error:
        return str(error)
    return None
