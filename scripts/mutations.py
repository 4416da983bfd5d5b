"""Mutation testing of the core: applies single changes to a copy of the tree and reports those that no test catches.

    python scripts/mutations.py                 # all of them: about half an hour of one core
    python scripts/mutations.py objectives      # files whose path contains this word

The exit status is 1 if a change survives that is not marked equivalent, or one marked so is caught.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("opdkit", "conf", "tests", "pyproject.toml")
SECONDS = 900


@dataclass(frozen=True)
class Mutation:
    """One change.

    Attributes:
        file: below the root.
        old: text that occurs exactly once in it.
        new: its replacement.
        tests: tests that must fail.
        equivalent: why no test can fail, empty if one must.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    equivalent: str = ""


def mutations() -> Iterator[Mutation]:
    """Those of mutations.yaml, in order."""
    for group in yaml.safe_load((ROOT / "scripts" / "mutations.yaml").read_text(encoding="utf-8")):
        for change in group["changes"]:
            yield Mutation(group["file"], tests=tuple(group["tests"]), **change)


def is_noticed(mutation: Mutation, tree: Path) -> bool:
    """Whether a test fails on the changed `tree`. The tree is restored afterwards."""
    file = tree / mutation.file
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutation.tests]
    # Bytecode is keyed by size and second: a change of the same length within a second would be missed.
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return True
    finally:
        file.write_text(text, encoding="utf-8")
    if done.returncode not in (0, 1, 2):  # passed; failed; broken on import
        raise SystemExit(f"{' '.join(command)}: pytest ended with {done.returncode}\n{done.stdout.decode()[-2000:]}")
    return done.returncode != 0


def main() -> int:
    """Runs the selected changes and prints a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("word", nargs="?", default="", help="part of the path of the changed files")
    word: str = parser.parse_args().word
    chosen = [mutation for mutation in mutations() if word in mutation.file]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for name in COPIED:
            source = ROOT / name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / name)
        for number, mutation in enumerate(chosen, start=1):
            noticed = is_noticed(mutation, tree)
            expected = noticed != bool(mutation.equivalent)
            wrong += not expected
            result = "noticed" if noticed else f"equivalent: {mutation.equivalent}" if expected else "SURVIVED"
            print(f"{number}/{len(chosen)} {mutation.file}: {mutation.new!r}: {result}", flush=True)
    print(f"{len(chosen)} changes, {wrong} not as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
