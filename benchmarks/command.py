"""`python -m benchmarks`: measures, prints each section once it is ready, and writes the page, plot and JSON."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from benchmarks.cases import FULL, QUICK, Case
from benchmarks.results import Results
from benchmarks.runner import Plan, missing, run_case
from opdkit import device
from opdkit.config.near import refusal
from opdkit.errors import UserError

_USAGE = "usage: python -m benchmarks [--quick] [--only CASE] [--repeats N] [--steps N] [--threads N] [--output DIR]"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; {_USAGE}")


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = _Parser(
        prog="python -m benchmarks", description="Speed and memory compared with other projects.", allow_abbrev=False
    )
    options.add_argument("--quick", action="store_true", help="one repeat of the main cases, within a minute")
    options.add_argument("--only", metavar="CASE", action="append", help=f"run this case: {', '.join(_names(FULL))}")
    options.add_argument("--repeats", type=int, help="fresh processes per contestant (3; 1 with --quick)")
    options.add_argument("--steps", type=int, help="maximum timed steps per process (3; 1 with --quick)")
    options.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
    options.add_argument("--output", type=Path, metavar="DIR", help="write performance.md, .json and .png to DIR")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the command. Returns 0; raises UserError for invalid arguments before anything runs or is written."""
    try:
        options = parser().parse_args(list(arguments))
    except SystemExit as stop:
        return int(stop.code or 0)
    cases, plan = choose(options.quick, options.only), settle(options)
    _require_folder(options.output)
    for package in missing(cases):
        print(f"{package} is not installed: its rows say so (pip install 'opdkit[bench]')", file=sys.stderr)
    run(cases, plan, options.output, " ".join(["python -m benchmarks", *_without_output(arguments)]))
    return 0


def run(cases: tuple[Case, ...], plan: Plan, output: Path | None, command: str) -> Results:
    """Measure the cases and print each once it is ready. The files in `output`, if given, are rewritten after each, so
    that an interruption loses at most one case."""
    results = Results(command, plan)
    for case in cases:
        found = run_case(case, plan, lambda line: print(line, file=sys.stderr, flush=True))
        told = results.add(case, found)
        print("\n" + "\n".join(told) + "\n", flush=True)
        if output is not None:
            results.write(output)
    return results


def choose(quick: bool, only: list[str] | None) -> tuple[Case, ...]:
    """The selected cases. Raises UserError for an unknown name, or one that needs a GPU if there is none."""
    cases = QUICK if quick else FULL
    names = _names(cases)
    for name in only or ():
        if name not in names:
            raise UserError(refusal(f"--only {name}", "no such case", name, names))
    chosen = [case for case in cases if only is None or case.name in only]
    if device.uses_cuda():
        return tuple(chosen)
    if only and (lacking := [case.name for case in chosen if case.needs_gpu]):
        raise UserError(f"--only {lacking[0]}: it needs a GPU, and there is none")
    return tuple(case for case in chosen if not case.needs_gpu)


def settle(options: argparse.Namespace) -> Plan:
    """Repeats and steps, with --quick's own defaults. Raises UserError below 1."""
    usual = Plan(repeats=1, steps=1) if options.quick else Plan()
    repeats = usual.repeats if options.repeats is None else options.repeats
    steps = usual.steps if options.steps is None else options.steps
    for name, value in (("repeats", repeats), ("steps", steps), ("threads", options.threads)):
        if value < 1:
            raise UserError(f"--{name} {value}: it must be at least 1")
    return Plan(repeats=repeats, steps=steps, threads=options.threads)


def _require_folder(output: Path | None) -> None:
    """Fails early if the output folder cannot be written."""
    if output is None:
        return
    nearest = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise UserError(f"--output {output}: {nearest.name} is a file, not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"--output {output}: the folder cannot be written")


def _names(cases: Sequence[Case]) -> list[str]:
    return [case.name for case in cases]


def _without_output(given: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for argument in given:
        if skip or argument.startswith("--output"):
            skip = argument == "--output"
            continue
        kept.append(argument)
    return kept
