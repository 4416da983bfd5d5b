"""`opdkit study`: runs a study of the method and writes its figures, tables and page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from opdkit.cli import application
from opdkit.cli.arguments import read
from opdkit.cli.run_folder import check_writable, new_folder
from opdkit.config.build import Origin, build_study
from opdkit.runs.folder import RunFolder
from opdkit.study.workshop import Order, check_folder


@dataclass(frozen=True)
class _Job:
    order: Order
    folder: Path


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit study`."""
    return application.run(_COMMAND, read("study", arguments), job)


def job(config: DictConfig) -> float:
    """Called by Hydra once per job."""
    return application.run_job(_COMMAND, config)


def _prepare(config: DictConfig, origin: Origin, sweep_folder: Path | None) -> _Job:
    study, resolved = build_study(config, origin)
    given = resolved["run_dir"]
    name = f"study-{origin.choices['study']}"
    folder = sweep_folder or (Path(given) if given else new_folder(Path(resolved["paths"]["runs"]), name))
    check_writable(folder)
    resume = RunFolder(folder).config.exists() if resolved["resume"] == "auto" else bool(resolved["resume"])
    check_folder(folder, resume=resume, resolved=resolved)
    typed = [text for text in origin.overrides if text.split("=")[0] not in ("run_dir", "resume")]
    return _Job(Order(study, resolved, resume, shlex.join(["opdkit", "study", *typed])), folder)


def _execute(prepared: _Job) -> float:
    from opdkit.console.summary import close_study
    from opdkit.console.terminal import terminal_reporter
    from opdkit.study.workshop import run as work_out

    with terminal_reporter() as reporter:
        summary = work_out(prepared.order, prepared.folder, reporter)
        close_study(reporter, summary, prepared.folder)
    return float(sum(claim["verdict"] in ("reproduced", "holds") for claim in summary["claims"]))


_COMMAND = application.Command("study", _prepare, _execute)
