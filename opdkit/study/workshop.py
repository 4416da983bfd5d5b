"""Manages a study's folder: cached intermediate results and the final output."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from opdkit.charts.style import image
from opdkit.console.terminal import Reporter
from opdkit.diagnostics.hardware import environment
from opdkit.errors import RunError, UserError
from opdkit.runs.folder import RunFolder, write_whole
from opdkit.study.outcome import Outcome

Piece = dict[str, Tensor]


class Study(Protocol):
    """A study with its settings as fields. All randomness derives from `seeds`."""

    @property
    def seeds(self) -> Sequence[int]: ...

    def work_out(self, workshop: Workshop) -> Outcome:
        """Computes everything; expensive pieces are cached by the workshop."""
        ...


@dataclass(frozen=True)
class Workshop:
    """Caches finished pieces in `pieces/<name>.safetensors`, so that an interrupted study can resume."""

    path: Path
    reporter: Reporter

    def piece(self, name: str, make: Callable[[], Piece]) -> Piece:
        """The cached piece of this name; computed and cached if there is none."""
        file = self.path / "pieces" / f"{name}.safetensors"
        if file.exists():
            try:
                return load_file(file)
            except (SafetensorError, OSError) as error:
                raise RunError(f"{file} can't be read ({error}); delete it to recompute it") from error
        made = make()
        file.parent.mkdir(exist_ok=True)
        write_whole(file, save({key: value.contiguous() for key, value in made.items()}))
        return made


def check_folder(path: Path, *, resume: bool, resolved: Mapping[str, Any]) -> None:
    """Checks that the folder can hold this study, before anything is computed. Raises UserError."""
    folder = RunFolder(path)
    if folder.summary.exists():
        raise UserError(f"run_dir={path}: contains a finished study; choose another folder")
    if not resume and folder.config.exists():
        raise UserError(f"run_dir={path}: already contains an unfinished study; add resume=true to continue it")
    if not resume:
        return
    if not folder.config.exists():
        raise UserError(f"resume=true, but run_dir={path} contains no study")
    folder.require_same_config(resolved)


@dataclass(frozen=True)
class Order:
    """A requested study, its resolved configuration, and the command as typed."""

    study: Study
    resolved: Mapping[str, Any]
    resume: bool
    command: str


def run(order: Order, path: Path, reporter: Reporter) -> dict[str, Any]:
    """Runs the study in `path` and returns its summary. summary.json is written last and marks it as finished."""
    started = time.perf_counter()
    folder = RunFolder(path)
    with folder.owned():
        check_folder(path, resume=order.resume, resolved=order.resolved)
        write_whole(folder.environment, json.dumps(environment(order.study.seeds[0]), indent=1) + "\n")
        write_whole(folder.config, yaml.safe_dump(json.loads(json.dumps(order.resolved)), sort_keys=False))
        outcome = order.study.work_out(Workshop(path, reporter))
        reporter.stage("writing tables and figures")
        _write(outcome, path, order.command)
        claims = [{"claim": c.statement, "measured": c.measured, "verdict": c.verdict} for c in outcome.claims]
        summary = {"title": outcome.title, "claims": claims, "seconds": round(time.perf_counter() - started, 1)}
        write_whole(folder.summary, json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    return summary


def _write(outcome: Outcome, path: Path, command: str) -> None:
    for stem, table in outcome.tables.items():
        write_whole(path / f"{stem}.csv", table.csv())
        if table.shown:
            write_whole(path / f"{stem}.md", f"# {table.title}\n\n{table.markdown()}")
    for stem, picture in outcome.pictures.items():
        for kind in ("png", "svg"):
            write_whole(path / f"{stem}.{kind}", image(picture.figure, kind))
    write_whole(path / "findings.md", outcome.page(command))
