"""Runs a command: one job in this process, a sweep under Hydra, all jobs checked before the first starts."""

from __future__ import annotations

import gc
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from opdkit.cli.arguments import Request, make_importable
from opdkit.cli.failures import Failures
from opdkit.cli.private import public_names
from opdkit.cli.run_folder import job_folder, new_folder
from opdkit.config import location, schema
from opdkit.config.build import Origin
from opdkit.config.compose import Source, compose, without_hydra
from opdkit.config.overrides import Typed, check, first_job, jobs, parse
from opdkit.errors import RunError, UserError
from opdkit.world.launched import several


@dataclass(frozen=True)
class Command:
    """`prepare` checks one job and touches nothing; `execute` runs it and returns the metric to optimise."""

    root: str
    prepare: Callable[[DictConfig, Origin, Path | None], Any]
    execute: Callable[[Any], float]


_MAX_FAILURE_RATE = "hydra.sweeper.max_failure_rate"


def run(command: Command, request: Request, task: Callable[[DictConfig], Any]) -> int:
    """Runs the command. `task` is the module-level function that Hydra calls for each job of a sweep."""
    make_importable(request.config_dir)
    # Retries against an unreachable Hub would bury the one-line error.
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    schema.register()
    if not request.shows and sys.stdout.isatty():
        print("reading the configuration", end="\r", flush=True)  # importing torch takes seconds
    if request.shows:
        if request.composes:
            compose(Source(request.root, request.config_dir), request.overrides)
        return _hydra(request, task, request.argv)
    source = Source(request.root, request.config_dir)
    typed = parse(request.overrides)
    check(source.root, typed, source.folders, multirun=True)
    fixed = [item.text for item in typed if not item.override.is_sweep_override()]
    config = compose(source, fixed, with_hydra=True)
    if not _sweeps(request, typed, config):
        check(source.root, typed, source.folders, multirun=False)
        command.execute(command.prepare(*_job(source, config, request.overrides), None))
        return 0
    sweep, argv = _check_sweep(command, request, source, config)
    failures = Failures(sweep)
    failures.forget()
    status = _hydra(request, task, argv)
    failed = failures.lines()
    if failed:
        raise RunError(f"{len(failed)} of the sweep's jobs failed: {'; '.join(failed)}")
    return status


def _sweeps(request: Request, typed: Sequence[Typed], config: DictConfig) -> bool:
    """Whether several jobs are requested, by a flag or by the configuration."""
    asked = request.multirun or _own_value(typed, "hydra.mode") == "MULTIRUN"
    return asked or str(config.hydra.mode).rpartition(".")[2] == "MULTIRUN"


def _check_sweep(command: Command, request: Request, source: Source, config: DictConfig) -> tuple[Path, list[str]]:
    """Composes, binds and builds every job. Returns the sweep's folder and Hydra's arguments."""
    if several():
        raise UserError("a sweep runs in one process: start it without torchrun, or each of its jobs with it")
    root = _sweep_root(config)
    texts = [f"{key}={value}" for key, value in (config.hydra.sweeper.get("params") or {}).items()]
    texts += request.overrides
    if not _is_grid(config):
        _require_new_or_resumed(root, config)
    for number, overrides in enumerate(jobs(texts) if _is_grid(config) else [first_job(texts)]):
        job = compose(source, overrides, with_hydra=True)
        command.prepare(*_job(source, job, overrides), job_folder(root, number, overrides))
    quoted = str(root).replace("\\", "\\\\").replace("'", "\\'")
    added = [f"hydra.sweep.dir='{quoted}'"]
    given = _own_value(parse(request.overrides), _MAX_FAILURE_RATE)
    if config.hydra.sweeper.get("max_failure_rate") == 0 and given is None:
        added.append(f"{_MAX_FAILURE_RATE}=1")  # a search also continues after a failed job by default
    return root, [*request.argv, *added]


def _is_grid(config: DictConfig) -> bool:
    """Whether all jobs are known up front; other sweepers choose adaptively."""
    return config.hydra.sweeper._target_.endswith(".BasicSweeper")


def _require_new_or_resumed(root: Path, config: DictConfig) -> None:
    """Checks the folder of a search as a whole: the folders of its jobs are not known beforehand."""
    if not config.get("resume") and root.is_dir() and any(root.iterdir()):
        raise UserError(f"run_dir={str(root)!r} is not empty; add resume=true to continue it, or name another folder")


def _own_value(typed: Sequence[Typed], key: str) -> str | None:
    return next((str(item.value) for item in typed if item.key == key), None)


def _job(source: Source, config: DictConfig, overrides: Sequence[str]) -> tuple[DictConfig, Origin]:
    plain, choices = without_hydra(config)
    own = [text for text in overrides if not text.lstrip("+").startswith("hydra")]
    return plain, Origin(own, choices, source.folders)


def _sweep_root(config: DictConfig) -> Path:
    given = OmegaConf.select(config, "run_dir")
    return Path(given) if given else new_folder(Path(config.paths.runs) / "sweeps", "")


def run_job(command: Command, config: DictConfig) -> float:
    """Runs one job of a sweep, possibly in its own process: an error is reported and the next job starts."""
    about = HydraConfig.get()
    overrides = [str(text) for text in about.overrides.task]
    files = [Path(s.path) for s in about.runtime.config_sources if s.schema == "file"]
    folders = [location.conf_dir(), *(f for f in files if f.resolve() != location.conf_dir())]
    make_importable(str(folders[1]) if len(folders) > 1 else None)
    origin = Origin(overrides, {str(k): str(v) for k, v in about.runtime.choices.items()}, folders)
    folder = job_folder(Path(about.sweep.dir), about.job.num, overrides)
    print(f"\njob {about.job.num}: {' '.join(overrides)}", flush=True)
    try:
        return command.execute(command.prepare(config, origin, folder))
    except Exception as error:
        if not isinstance(error, (UserError, RunError)):
            traceback.print_exception(error)
        line = Failures(Path(about.sweep.dir)).note(about.job.num, overrides, str(error))
        print(f"opdkit: error: {line}", file=sys.stderr, flush=True)
        if about.sweeper._target_.endswith(".BasicSweeper"):
            return float("nan")
        raise RunError(line) from None  # a search marks the trial as failed; a plain error, since it crosses processes
    finally:
        _free_memory()


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _hydra(request: Request, task: Callable[[DictConfig], Any], argv: Sequence[str]) -> int:
    """Calls Hydra, which reads sys.argv."""
    before = sys.argv
    sys.argv = [before[0], *argv]
    try:
        with public_names() if request.lists else nullcontext():
            hydra.main(version_base="1.3", config_path=str(location.conf_dir()), config_name=request.root)(task)()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    finally:
        sys.argv = before
    return 0
