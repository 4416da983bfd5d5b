"""The results so far, and their files."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.page import machine, page
from benchmarks.plot import draw
from benchmarks.runner import Plan
from benchmarks.shapes import to_json
from benchmarks.views import section, summary
from opdkit.files import write_whole

NAME = "performance"


@dataclass
class Results:
    """Results of one command: the load average at its start, and each case with its summary and raw measurements."""

    command: str
    plan: Plan
    load_before: float | None = field(default_factory=lambda: load())
    cases: dict[str, Any] = field(default_factory=dict[str, Any])
    summaries: list[tuple[Case, dict[str, Any]]] = field(default_factory=list[tuple[Case, dict[str, Any]]])

    def add(self, case: Case, found: Mapping[str, Any]) -> list[str]:
        """Adds the measurements of a case. Returns its section in markdown."""
        numbers = summary(case, found)
        self.summaries.append((case, numbers))
        entries = {entry.name: {"shape": to_json(entry.shape), **found[entry.name]} for entry in case.entries}
        self.cases[case.name] = {"title": case.title, **numbers, "entries": entries}
        return section(case, numbers)

    def write(self, folder: Path) -> None:
        """Writes performance.json, performance.md and performance.png."""
        folder.mkdir(parents=True, exist_ok=True)
        about = machine(self.plan, self.load_before, load())
        whole = {"command": self.command, "machine": about, "cases": self.cases}
        write_whole(folder / f"{NAME}.json", json.dumps(whole, indent=1) + "\n")
        plot = f"{NAME}.png"
        write_whole(folder / plot, draw(self.summaries))
        sections = [section(case, numbers) for case, numbers in self.summaries]
        write_whole(folder / f"{NAME}.md", page(self.command, about, sections, plot))


def load() -> float | None:
    """The machine's load average over the last minute, None if it has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None
