"""What the commands that Hydra runs have in common: every job is checked before the first of them starts."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from opdkit.cli.arguments import Request, make_importable
from opdkit.cli.run_folder import job_folder, new_folder
from opdkit.config import location, schema
from opdkit.config.build import Origin
from opdkit.config.compose import Source, compose
from opdkit.config.overrides import Typed, check, jobs, parse
from opdkit.errors import RunError, UserError


@dataclass(frozen=True)
class Command:
    """`prepare` checks one job and touches nothing; `execute` runs it and returns the metric to optimise."""

    root: str
    prepare: Callable[[DictConfig, Origin, Path | None], Any]
    execute: Callable[[Any], float]


class _Outcome(BaseException):
    """Carries a job's error past Hydra, which would print it in its own way."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def run(command: Command, request: Request, task: Callable[[DictConfig], Any]) -> int:
    """Runs what was asked for. `task` is the module-level function that Hydra calls for each job."""
    make_importable(request.config_dir)
    # Retries against a hub that cannot be reached would bury the one line that says so.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    schema.register()
    if request.shows:
        if request.composes:
            compose(Source(request.root, request.config_dir), request.overrides)
        return _hydra(request, task, request.argv)
    multirun, argv = _check_all(command, request)
    if not multirun:
        return _hydra(request, task, argv)
    _failures.clear()
    status = _hydra(request, task, argv)
    if _failures:
        raise RunError(f"{len(_failures)} of the sweep's jobs failed: {'; '.join(_failures)}")
    return status


def _check_all(command: Command, request: Request) -> tuple[bool, list[str]]:
    """Composes, binds and builds every job. Returns whether it is a sweep, and Hydra's arguments."""
    source = Source(request.root, request.config_dir)
    typed = parse(request.overrides)
    asked = request.multirun or _own_value(typed, "hydra.mode") == "MULTIRUN"
    check(source.root, typed, source.folders, multirun=True)
    fixed = [item.text for item in typed if not item.override.is_sweep_override()]
    config = compose(source, fixed, with_hydra=True)
    if not asked and str(config.hydra.mode).rpartition(".")[2] != "MULTIRUN":
        check(source.root, typed, source.folders, multirun=False)
        command.prepare(*_job(source, config, request.overrides), None)
        return False, request.argv
    root = _sweep_root(config)
    texts = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    texts += request.overrides
    for number, overrides in enumerate(_expanded(config, texts) or [fixed]):
        job = compose(source, overrides, with_hydra=True)
        command.prepare(*_job(source, job, overrides), job_folder(root, number, overrides))
    quoted = str(root).replace("\\", "\\\\").replace("'", "\\'")
    return True, [*request.argv, f"hydra.sweep.dir='{quoted}'"]


def _expanded(config: DictConfig, texts: Sequence[str]) -> list[list[str]] | None:
    """Every job of a grid; None where the sweeper chooses as it goes."""
    return jobs(texts) if config.hydra.sweeper._target_.endswith(".BasicSweeper") else None


def _own_value(typed: Sequence[Typed], key: str) -> str | None:
    return next((str(item.value) for item in typed if item.key == key), None)


def _job(source: Source, config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Origin]:
    choices = {str(k): str(v) for k, v in config.hydra.runtime.choices.items()}
    own = [text for text in overrides if not text.lstrip("+").startswith("hydra")]
    return _without_hydra(config), Origin(own, choices, source.folders)


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        del config["hydra"]
    return config


def _sweep_root(config: DictConfig) -> Path:
    given = OmegaConf.select(config, "run_dir")
    return Path(given) if given else new_folder(Path(config.paths.runs) / "sweeps", "")


_failures: list[str] = []


def run_job(command: Command, config: DictConfig) -> float:
    """One job, called by Hydra: in a run an error ends it, in a sweep it is told and the next job starts."""
    about = HydraConfig.get()
    sweeping = str(about.mode).rpartition(".")[2] == "MULTIRUN"
    overrides = [str(text) for text in about.overrides.task]
    files = [Path(s.path) for s in about.runtime.config_sources if s.schema == "file"]
    folders = [location.conf_dir(), *(f for f in files if f.resolve() != location.conf_dir())]
    origin = Origin(overrides, {str(k): str(v) for k, v in about.runtime.choices.items()}, folders)
    folder = job_folder(Path(about.sweep.dir), about.job.num, overrides) if sweeping else None
    if sweeping:
        print(f"\njob {about.job.num}: {' '.join(overrides)}", flush=True)
    try:
        return command.execute(command.prepare(config, origin, folder))
    except Exception as error:
        in_process = about.launcher._target_.endswith(".BasicLauncher")
        if not sweeping:
            raise _Outcome(error) from error
        if not in_process:
            raise
        _tell(about.job.num, overrides, error)
        return float("nan")
    finally:
        _free_memory()


def _tell(number: int, overrides: Sequence[str], error: Exception) -> None:
    name = f"job {number} ({' '.join(overrides)})"
    _failures.append(name)
    if not isinstance(error, (UserError, RunError)):
        traceback.print_exception(error)
    print(f"opdkit: error: {name}: {' '.join(str(error).split())}", file=sys.stderr)


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _hydra(request: Request, task: Callable[[DictConfig], Any], argv: Sequence[str]) -> int:
    """Hands over to Hydra, which reads sys.argv."""
    before = sys.argv
    sys.argv = [before[0], *argv]
    try:
        hydra.main(version_base="1.3", config_path=str(location.conf_dir()), config_name=request.root)(task)()
    except _Outcome as outcome:
        raise outcome.error from outcome.error.__cause__
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = before
    return 0
