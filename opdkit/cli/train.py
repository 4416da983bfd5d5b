"""`opdkit train`: one run, or one per combination of values."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from opdkit.cli import application
from opdkit.cli.arguments import read
from opdkit.cli.run_folder import check_writable, new_folder
from opdkit.cli.single import single_job
from opdkit.config.build import Origin, build_experiment
from opdkit.errors import UserError
from opdkit.runs.folder import RunFolder
from opdkit.world.launched import current

if TYPE_CHECKING:
    from opdkit.console.terminal import Reporter
    from opdkit.training.callbacks import Callback
    from opdkit.training.experiment import Experiment
    from opdkit.training.run import Summary


_DRY = "--dry-run"


@dataclass(frozen=True)
class TrainJob:
    """A checked run that has not started.

    Attributes:
        experiment: the experiment to run.
        folder: the run folder.
        asked: arguments of `opdkit eval` for the same evaluation of another model.
        command: the command line of this job.
        may_begin: whether a resumed run may start afresh if it ended before its first checkpoint.
    """

    experiment: Experiment
    folder: Path
    asked: tuple[str, ...]
    command: str
    may_begin: bool


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit train`."""
    if _DRY in arguments:
        return _dry([text for text in arguments if text != _DRY])
    return application.run(_COMMAND, read("train", arguments), job)


def _dry(arguments: Sequence[str]) -> int:
    """Checks the run and prints its plan. Nothing is loaded or written."""
    from opdkit.doctor.plan import plan

    prepared = prepare(*single_job(read("train", arguments), f"opdkit train {_DRY}"))
    for name, told in plan(prepared.experiment, prepared.folder):
        print(f"{name:<11} {told}")
    return 0


def job(config: DictConfig) -> float:
    """Called by Hydra once per job; at module level so that a launcher can send it to another process."""
    return application.run_job(_COMMAND, config)


def prepare(config: DictConfig, origin: Origin, sweep_folder: Path | None = None) -> TrainJob:
    """Checks one job without side effects. Raises UserError."""
    experiment = build_experiment(config, origin)
    given = experiment.resolved["run_dir"]
    # A resumed sweep also starts the jobs that never began.
    may_begin = sweep_folder is not None or experiment.resume == "auto"
    if sweep_folder is not None:
        if experiment.push_to_hub is not None:
            raise UserError(
                f"push_to_hub={experiment.push_to_hub}: the jobs of a sweep would overwrite one another; upload one of "
                "them by opdkit train with its overrides, its run_dir, resume=true and push_to_hub"
            )
        path = sweep_folder
    elif given is not None:
        path = Path(given)
    else:
        parent, name = Path(experiment.resolved["paths"]["runs"]), origin.choices["objective"]
        path = Path(current().from_main(lambda: str(new_folder(parent, name))))
    if may_begin:
        begun = current().from_main(RunFolder(path).config.exists)
        experiment = dataclasses.replace(experiment, resume=bool(experiment.resume) and begun)
    if current().main:
        _require_fit(path, experiment)
    return TrainJob(experiment, path, _asked(origin), _command(origin), may_begin)


def _require_fit(path: Path, experiment: Experiment) -> None:
    """Raises UserError for a folder that the run cannot use."""
    check_writable(path)
    folder = RunFolder(path)
    if not experiment.resume:
        folder.require_new()
    elif folder.config.exists():
        folder.require_same_config(experiment.resolved)


def _own_folders(origin: Origin) -> list[str]:
    return [word for folder in origin.folders[1:] for word in ("--config-dir", str(folder))]


def _command(origin: Origin) -> str:
    """The command line of this job alone, also within a sweep."""
    return shlex.join(["opdkit", "train", *_own_folders(origin), *origin.overrides])


def _asked(origin: Origin) -> tuple[str, ...]:
    """Arguments of `opdkit eval` for the same benchmark, whether chosen by the user or an experiment."""
    changed = [text for text in origin.overrides if text.startswith(("benchmark.", "sampler@benchmark."))]
    chosen = [f"{name}={origin.choices[name]}" for name in ("benchmark", "protocol") if origin.choices[name] != "None"]
    return (*chosen, *changed, *_own_folders(origin))


def execute(prepared: TrainJob, reporter: Reporter, callbacks: Sequence[Callback] = ()) -> Summary:
    """Runs a job, prints how it ended and returns its summary."""
    from opdkit.console.summary import close_training
    from opdkit.doctor.run import warnings_at_start
    from opdkit.runs.upload import open_repository, push
    from opdkit.training.run import train

    repository = prepared.experiment.push_to_hub if current().main else None
    if repository is not None:
        open_repository(repository)
    at = (prepared.experiment, prepared.folder, reporter, prepared.command, prepared.may_begin)
    summary = train(*at, warnings_at_start, callbacks)
    if current().main:
        close_training(reporter, summary, prepared.asked)
    if repository is not None:
        reporter.stage(f"uploading to {repository}")
        reporter.note(f"uploaded  {push(RunFolder(prepared.folder), repository)}")
    return summary


def _execute(prepared: TrainJob) -> float:
    from opdkit.console.terminal import terminal_reporter

    with terminal_reporter(silent=not current().main) as reporter:
        return float(execute(prepared, reporter)["after"]["pass@1"])


_COMMAND = application.Command("train", prepare, _execute)
