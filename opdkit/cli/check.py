"""`opdkit check`: composes and binds every option and experiment without loading weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from opdkit.cli.arguments import make_importable
from opdkit.cli.parser import LineParser
from opdkit.config import schema
from opdkit.config.build import Origin, build_evaluation, build_experiment, build_service, build_study
from opdkit.config.compose import Source, compose, without_hydra
from opdkit.config.location import groups, options
from opdkit.errors import UserError
from opdkit.extras import PackageMissingError

_BUILD = {"train": build_experiment, "eval": build_evaluation, "study": build_study, "serve": build_service}


def run(arguments: Sequence[str]) -> int:
    """Prints one line per choice. Returns 1 if any does not compose or bind."""
    parser = LineParser("opdkit check", "Checks every option and experiment.", "[--config-dir FOLDER]")
    parser.add_argument("-cd", "--config-dir", help="folder with your own options")
    try:
        own = parser.parse_args(list(arguments)).config_dir
    except SystemExit as stop:
        return int(stop.code or 0)
    make_importable(own)
    failed = 0
    for root, choice in choices(own):
        source = Source(root, own)
        told = f"{root} {' '.join(choice)}".strip()
        try:
            problem = check_one(source, [*choice, *placeholders(choice, source.folders)])
        except PackageMissingError as missing:
            print(f"--    {told}: not checked ({missing})")
            continue
        failed += problem is not None
        print(f"ok    {told}" if problem is None else f"FAIL  {told}: {problem}")
    print("all fine" if not failed else f"{failed} failed")
    return 1 if failed else 0


# An option with no effect on its own is checked together with one it acts on.
_BESIDE = {
    "objective/surrogate": ["objective=sampled", "batch.mini_batch=64", "batch.epochs=1"],
    "objective/baseline": ["objective=sampled"],
    "teacher=none": ["objective=grpo"],
    "method=minillm": ["batch.epochs=2"],
    "method=ropd": ["text=sums_script"],
    "reward=judge": ["text=sums_script"],
    "reward=rubric": ["text=sums_script"],
    "text": ["reward=judge"],
}


def choices(own: str | None) -> Iterator[tuple[str, list[str]]]:
    """Each root unchanged, then with each option of each of its groups."""
    folders = Source("train", own).folders
    roots: dict[str, tuple[str, ...]] = {
        "train": (*schema.TRAIN_GROUPS, "text", "logger", "diagnostics", "paths", *schema.RECIPES["train"]),
        "eval": (*schema.EVAL_GROUPS, "paths", *schema.RECIPES["eval"]),
        "study": (*schema.STUDY_GROUPS, "paths"),
        "serve": (),
    }
    for root, names in roots.items():
        yield root, []
        for group in groups(folders):
            if group.split("/")[0] in names:
                for option in options(group, folders):
                    beside = _BESIDE.get(group, []) + _BESIDE.get(f"{group}={option}", [])
                    yield root, [*beside, f"{group}={option}"]


def placeholders(choice: Sequence[str], folders: Sequence[Path]) -> list[str]:
    """Placeholders for values that an option leaves to the user (`path: ???`), so that it binds."""
    found: list[str] = []
    for text in choice:
        group, _, option = text.partition("=")
        file = options(group, folders).get(option)
        if file is None:  # a key next to the options
            continue
        found += [
            f"{group}.{key}=somewhere" for key in _left_open(yaml.safe_load(file.read_text(encoding="utf-8")) or {})
        ]
    return found


def _left_open(node: Mapping[str, Any]) -> Iterator[str]:
    for name, value in node.items():
        if value == "???":
            yield name
        elif isinstance(value, Mapping):
            yield from (f"{name}.{inner}" for inner in _left_open(value))


def check_one(source: Source, overrides: Sequence[str]) -> str | None:
    """The error in a configuration, or None. Raises PackageMissingError if a missing package prevents the check."""
    try:
        config, choices = without_hydra(compose(source, overrides, with_hydra=True))
        _BUILD[source.root](config, Origin(overrides, choices, source.folders))
    except PackageMissingError:
        raise
    except UserError as error:
        return str(error)
    return None
