"""`opdkit bench`: measures, prints tables, and writes the page and the JSON behind it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from opdkit.bench.cases import FULL, QUICK, Case
from opdkit.bench.report import compare, machine, page, table, verdicts
from opdkit.bench.runner import Plan, missing, require_peers, run_case
from opdkit.errors import UserError


def parser() -> argparse.ArgumentParser:
    """The command's options."""
    options = argparse.ArgumentParser(prog="opdkit bench", description="Speed and memory beside other projects.")
    options.add_argument("--quick", action="store_true", help="one repeat of the two main cases, within a minute")
    options.add_argument("--repeats", type=int, help="fresh processes a contestant (5; 1 with --quick)")
    options.add_argument("--steps", type=int, help="timed steps in each process (3; 1 with --quick)")
    options.add_argument("--threads", type=int, default=2, help="CPU threads (2)")
    options.add_argument("--only", metavar="CASE", action="append", help=f"a case: {', '.join(_names())}")
    options.add_argument("--output", type=Path, metavar="FOLDER", help="write performance.md and .json there")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command. 0 when done, 2 for a mistake of the user's."""
    given = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(given)
    try:
        cases = choose(options.quick, options.only)
        plan = settle(options)
        require_peers(cases)
    except UserError as error:
        print(f"opdkit bench: {error}", file=sys.stderr)
        return 2
    for package in missing(cases):
        print(f"{package} is not installed: its rows are left out (pip install 'opdkit[bench]')", file=sys.stderr)
    run(cases, plan, options.output, " ".join(["opdkit bench", *_without_output(given)]))
    return 0


def run(cases: tuple[Case, ...], plan: Plan, output: Path | None, command: str) -> dict[str, Any]:
    """Measure the cases, print each table as it is ready, and write both files where `output` is given."""
    before = _load()
    tables, raw = [], {}
    for case in cases:
        found = run_case(case, plan, lambda line: print(line, file=sys.stderr, flush=True))
        compared = compare(case, found)
        tables.append((case, compared))
        raw[case.name] = compared | {"answers": found}
        print(f"\n{case.title}: {case.shape.describe()}\n\n{table(compared)}\n", flush=True)
        for line in verdicts(case, compared):
            print(f"- {line}", flush=True)
    about = machine(plan, before, _load())
    whole = {"command": command, "machine": about, "cases": raw}
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "performance.json").write_text(json.dumps(whole, indent=1) + "\n")
        (output / "performance.md").write_text(page(command, about, tables))
    return whole


def choose(quick: bool, only: list[str] | None) -> tuple[Case, ...]:
    """The cases asked for. Raises UserError for a name that does not exist."""
    cases = QUICK if quick else FULL
    unknown = [name for name in only or () if name not in _names()]
    if unknown:
        raise UserError(f"--only {unknown[0]}: there is no such case, choose from {', '.join(_names())}")
    return tuple(case for case in cases if only is None or case.name in only)


def settle(options: argparse.Namespace) -> Plan:
    """Repeats and steps, with --quick's own defaults. Raises UserError below 1."""
    usual = Plan(repeats=1, steps=1) if options.quick else Plan()
    repeats = usual.repeats if options.repeats is None else options.repeats
    steps = usual.steps if options.steps is None else options.steps
    for name, value in (("repeats", repeats), ("steps", steps), ("threads", options.threads)):
        if value < 1:
            raise UserError(f"--{name} {value}: it must be at least 1")
    return Plan(repeats=repeats, steps=steps, threads=options.threads)


def _names() -> list[str]:
    return [case.name for case in FULL]


def _without_output(given: list[str]) -> list[str]:
    kept, skip = [], False
    for argument in given:
        if skip or argument.startswith("--output"):
            skip = argument == "--output"
            continue
        kept.append(argument)
    return kept


def _load() -> float | None:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
