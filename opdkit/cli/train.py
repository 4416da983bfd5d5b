"""`opdkit train`: one run, or with several values one run for each combination."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from opdkit.cli import application
from opdkit.cli.arguments import read
from opdkit.cli.run_folder import check_folder, has_checkpoint, new_folder
from opdkit.config.build import Origin, build_experiment
from opdkit.config.difference import check_same
from opdkit.errors import UserError
from opdkit.experiment import Experiment

_HOLDS = ("config.yaml", "metrics.jsonl", "checkpoints", "final")


@dataclass(frozen=True)
class _Job:
    experiment: Experiment
    folder: Path


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit train`."""
    return application.run(_COMMAND, read("train", arguments), job)


def job(config: DictConfig) -> float:
    """Called by Hydra, once a job; at module level so that a launcher can send it to another process."""
    return application.run_job(_COMMAND, config)


def _prepare(config: DictConfig, origin: Origin, sweep_folder: Path | None) -> _Job:
    experiment = build_experiment(config, origin)
    given = experiment.resolved["run_dir"]
    if sweep_folder is not None:
        # A sweep that stopped half-way goes on: jobs that never began start now.
        resume = experiment.resume and has_checkpoint(sweep_folder)
        experiment = dataclasses.replace(experiment, resume=resume)
        folder = sweep_folder
    elif given is not None:
        folder = Path(given)
    else:
        folder = new_folder(Path(experiment.resolved["paths"]["runs"]), origin.choices["objective"])
    check_folder(folder, holds=_HOLDS, resume=experiment.resume)
    if experiment.resume:
        if not has_checkpoint(folder):
            raise UserError(f"resume=true: {folder} holds no checkpoint; leave resume out to start from the beginning")
        if (folder / "config.yaml").exists():
            check_same(folder / "config.yaml", experiment.resolved)
    return _Job(experiment, folder)


def _execute(prepared: _Job) -> float:
    from opdkit.reporting.terminal import terminal_reporter
    from opdkit.training.run import train

    with terminal_reporter() as reporter:
        result = train(prepared.experiment, prepared.folder, reporter)
    return float(result.get("metric", float("nan")))


_COMMAND = application.Command("train", _prepare, _execute)
