"""Reads run folders as plain values; missing or corrupt parts are reported in one line."""

from __future__ import annotations

import glob
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from opdkit.jsonl import read_ends, read_rows

# Responses are read only for their verdicts, so larger files are skipped.
_LARGEST_RESPONSES = 1 << 24
_DEEPEST = 8
# Reports are shared: absolute paths in a command are reduced to their last component.
_ABSOLUTE = re.compile(r"(?<![^\s=,:'\"\[(])(?:~|[A-Za-z]:)?/(?:[^\s/,'\"\])]+/)+(?=[^\s/,'\"\])])")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Curve:
    """One metric of one run: steps f64[n], ascending; values f64[n], NaN where a value was not finite."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation: its summary, and the accuracy per problem if its responses were read."""

    summary: Mapping[str, Any]
    problems: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def accuracy(self) -> float:
        """pass@1 in [0, 1], NaN if the summary has none."""
        return number(self.summary.get("pass@1"))


@dataclass(frozen=True)
class Run:
    """One run folder. `evaluations` maps when (before, after, teacher) to an evaluation on `benchmark`."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    curves: Mapping[str, Curve]
    samples: Sequence[Mapping[str, Any]]
    diagnostics: Sequence[Mapping[str, Any]]
    benchmark: str | None
    evaluations: Mapping[str, Evaluation]
    seconds: float
    remarks: Sequence[str]

    @property
    def seed(self) -> str:
        return str(self.config.get("seed", ""))

    @property
    def command(self) -> str:
        """The command as typed, absolute paths reduced to their last component; empty if not recorded."""
        return _ABSOLUTE.sub("…/", str(self.environment.get("command") or ""))

    @property
    def step(self) -> int:
        """The last logged step."""
        return int(max((curve.steps[-1] for curve in self.curves.values()), default=0))

    @property
    def finished(self) -> bool:
        return "after" in self.evaluations


def number(value: object) -> float:
    """A value as a number; NaN if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def find(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """(run folders in the order given, each once; a line for each argument without one).

    An argument is a run folder, a folder above run folders, or a glob of either.
    """
    folders: dict[Path, Path] = {}
    remarks: list[str] = []
    for argument in arguments:
        paths = [Path(argument)] if Path(argument).exists() else _matching(argument)
        if not paths:
            remarks.append(f"{argument}: no such folder")
        for path in paths:
            below = _runs_below(path, _DEEPEST)
            if not below:
                remarks.append(f"{path}: {_why_none(path)}")
            for run in below:
                folders.setdefault(run.resolve(), run)
    return list(folders.values()), remarks


def _matching(pattern: str) -> list[Path]:
    return sorted(map(Path, glob.glob(pattern, recursive=True)))  # noqa: PTH207 (Path.glob takes no absolute pattern)


def _why_none(path: Path) -> str:
    if not path.is_dir():
        return "not a folder"
    if (path / "evals").is_dir():
        return "an evaluation, not a training run"
    return "contains no run (no config.yaml in it or below)"


def _runs_below(path: Path, depth: int) -> list[Path]:
    if not path.is_dir():
        return []
    if (path / "config.yaml").is_file():
        return [path]
    if depth == 0:
        return []
    inner = sorted(p for p in path.iterdir() if p.is_dir() and not p.is_symlink() and not p.name.startswith("."))
    return [run for folder in inner for run in _runs_below(folder, depth - 1)]


def read_all(arguments: Sequence[str]) -> tuple[list[Run], list[str]]:
    """(the runs that `arguments` name, a line for each skipped or incomplete item)."""
    folders, remarks = find(arguments)
    runs: list[Run] = []
    for result in map(read, folders):
        if isinstance(result, Run):
            runs.append(result)
            remarks += result.remarks
        else:
            remarks.append(result)
    return runs, remarks


def read(folder: Path) -> Run | str:
    """The run in `folder`, or the reason why there is none."""
    try:
        config: Any = yaml.load((folder / "config.yaml").read_text(encoding="utf-8"), _LOADER)  # a safe loader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        return f"{folder}: config.yaml can't be read ({' '.join(str(error).split())[:120]})"
    if not isinstance(config, dict) or "objective" not in config:
        return f"{folder}: config.yaml is not from a training run"
    rows, broken = read_rows(folder / "metrics.jsonl")
    curves = _curves(rows)
    summary = _object(folder / "summary.json")
    evaluations = _evaluations(folder, summary)
    remarks = [f"{folder}: {broken} broken line{'s' * (broken > 1)} in metrics.jsonl skipped"] if broken else []
    if not curves:
        remarks.append(f"{folder}: no metrics yet")
    elif "after" not in evaluations:
        last = max(curve.steps[-1] for curve in curves.values())
        remarks.append(f"{folder}: not finished, at step {last:.0f} of {config.get('steps')}; not in the results")
    return Run(
        folder=folder,
        name=str(folder),
        config=config,
        environment=_object(folder / "env.json"),
        curves=curves,
        samples=read_ends(folder / "samples.jsonl"),
        diagnostics=read_ends(folder / "diagnostics.jsonl"),
        benchmark=summary.get("benchmark") if isinstance(summary.get("benchmark"), str) else None,
        evaluations=evaluations,
        seconds=number(summary.get("seconds")),
        remarks=remarks,
    )


def _object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is none."""
    try:
        value: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, Curve]:
    """The numbers in metrics.jsonl by name. If a step has two rows, the later one counts."""
    points: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        step = row.get("step")
        if type(step) is not int:
            continue
        for name, value in row.items():
            if type(value) is not float:
                if value is not None and type(value) is not int:
                    continue
                value = number(value)
            steps, values = points.setdefault(name, ([], []))
            steps.append(step)
            values.append(value)
    points.pop("step", None)
    curves = {name: _curve(steps, values) for name, (steps, values) in points.items()}
    return {name: curve for name, curve in curves.items() if np.isfinite(curve.values).any()}


def _curve(steps: Sequence[int], values: Sequence[float]) -> Curve:
    """Sorted by step, with the last value of each."""
    places, numbers = np.array(steps, dtype=np.float64), np.array(values, dtype=np.float64)
    if (np.diff(places) <= 0).any():
        order = np.argsort(places, kind="stable")
        last = np.append(np.diff(places[order]) > 0, True)
        places, numbers = places[order][last], numbers[order][last]
    return Curve(places, np.where(np.isfinite(numbers), numbers, np.nan))


def _evaluations(folder: Path, summary: Mapping[str, Any]) -> dict[str, Evaluation]:
    name = summary.get("benchmark")
    evaluations: dict[str, Evaluation] = {}
    for when, below in (("before", "before"), ("after", ""), ("teacher", "teacher")):
        result = summary.get(when)
        if isinstance(name, str) and isinstance(result, dict) and math.isfinite(number(result.get("pass@1"))):
            responses = folder / "evals" / below / f"{name}.responses.jsonl"
            evaluations[when] = Evaluation(result, _problems(responses) if when == "after" else {})
    return evaluations


def _problems(path: Path) -> dict[str, float]:
    """Problem -> the share of its responses that are correct; empty if the file is absent, too large or incomplete."""
    if not path.is_file() or path.stat().st_size > _LARGEST_RESPONSES:
        return {}
    rows, broken = read_rows(path)
    verdicts: dict[str, list[float]] = {}
    for row in rows:
        problem, correct = row.get("problem"), row.get("correct")
        if isinstance(problem, str) and isinstance(correct, bool):
            verdicts.setdefault(problem, []).append(float(correct))
    return {} if broken else {problem: sum(given) / len(given) for problem, given in verdicts.items()}
