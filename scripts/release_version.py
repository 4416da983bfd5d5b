"""Checks that tag, package, changelog and citation agree on the version: `python scripts/release_version.py v0.1.0`."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)(?: \((\d{4}-\d{2}-\d{2})\))?$", re.MULTILINE)
"""A release in the changelog: `## 0.1.0 (2026-11-25)`."""


def package_version(root: Path) -> str:
    """`__version__`, read without importing the package."""
    for node in ast.parse((root / "opdkit" / "__init__.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__version__":
            return str(ast.literal_eval(node.value))
    raise SystemExit("opdkit/__init__.py has no __version__")


def disagreements(root: Path, tag: str | None = None) -> list[str]:
    """Mismatches with the package's version, one line each. The tag is checked if given."""
    version = package_version(root)
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    releases = HEADING.findall((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    newest, date = releases[0] if releases else ("none", "")
    found = []
    if tag is not None and tag != f"v{version}":
        found.append(f"the tag is {tag}, the package v{version}")
    if newest != version:
        found.append(f"the newest release in CHANGELOG.md is {newest}, the package {version}")
    if not date:
        found.append(f"CHANGELOG.md has no date for {newest}")
    if citation["version"] != version:
        found.append(f"CITATION.cff has version {citation['version']}, the package {version}")
    if str(citation["date-released"]) != date:
        found.append(f"CITATION.cff is dated {citation['date-released']}, CHANGELOG.md {date}")
    return found


if __name__ == "__main__":
    wrong = disagreements(ROOT, sys.argv[1] if len(sys.argv) > 1 else None)
    if wrong:
        sys.exit("\n".join(wrong))
