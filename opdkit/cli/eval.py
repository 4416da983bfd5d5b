"""Implements `opdkit eval`: evaluates one model on benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from opdkit.cli import application
from opdkit.cli.arguments import Request, read
from opdkit.cli.run_folder import check_writable, new_folder
from opdkit.config.build import Origin, build_evaluation
from opdkit.config.near import refusal
from opdkit.console.episodes import SHOWN
from opdkit.errors import UserError
from opdkit.world.launched import current

if TYPE_CHECKING:
    from opdkit.console.terminal import Reporter
    from opdkit.training.experiment import Evaluation
    from opdkit.training.run import Summary


@dataclass(frozen=True)
class EvalJob:
    """An evaluation that is checked and not begun, and the folder of its results."""

    evaluation: Evaluation
    folder: Path


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit eval`."""
    return application.run(_COMMAND, request(arguments), job)


def request(arguments: Sequence[str]) -> Request:
    """What a command line of `opdkit eval` asks for."""
    return _with_paths(read("eval", arguments))


def _with_paths(request: Request) -> Request:
    """`task.path=`, as it is said to `opdkit train`, is `benchmark.path=` here: a benchmark has its task inside."""
    said, meant = "task.path=", "benchmark.path="
    named = (meant + text.removeprefix(said) if text.startswith(said) else text for text in request.overrides)
    return replace(request, overrides=tuple(named))


def job(config: DictConfig) -> float:
    """Called by Hydra, once a job."""
    return application.run_job(_COMMAND, config)


def prepare(config: DictConfig, origin: Origin, sweep_folder: Path | None = None) -> EvalJob:
    """Checks one job and touches nothing. Raises UserError."""
    evaluation = build_evaluation(config, origin)
    given = evaluation.resolved["run_dir"]
    runs = Path(evaluation.resolved["paths"]["runs"])
    folder = sweep_folder or (Path(given) if given else _new(runs, f"eval-{origin.choices['benchmark']}"))
    if current().main:
        _require_fit(folder, evaluation)
    _check_show(evaluation)
    return EvalJob(evaluation, folder)


def _new(runs: Path, name: str) -> Path:
    """A folder that is the same one in all processes."""
    return Path(current().from_main(lambda: str(new_folder(runs, name))))


def _require_fit(folder: Path, evaluation: Evaluation) -> None:
    """Raises UserError for a folder that the evaluation can't have."""
    check_writable(folder)
    name = evaluation.benchmark.name
    begun = folder / "evals" / f"{name}.responses.jsonl"
    if begun.exists() and not evaluation.resume:
        raise UserError(
            f"run_dir={folder}: already holds {begun.name}; add resume=true to go on, or name another folder"
        )


def _check_show(evaluation: Evaluation) -> None:
    """An identifier that is none is told before anything runs."""
    if evaluation.show is None or evaluation.show in SHOWN:
        return
    known = [problem.identifier for problem in evaluation.benchmark.problems()]
    if evaluation.show not in known:
        choices = (*SHOWN, *known)
        raise UserError(refusal(f"show={evaluation.show}", "no such response", evaluation.show, choices))


def execute(prepared: EvalJob, reporter: Reporter) -> Summary:
    """Runs a job, tells what came out, and returns its summary."""
    from opdkit.console.episodes import show_response
    from opdkit.console.summary import close_evaluation
    from opdkit.training.run import evaluate

    summary = evaluate(prepared.evaluation, prepared.folder, reporter)
    if current().main:
        close_evaluation(reporter, summary, prepared.folder)
        if prepared.evaluation.show is not None:
            show_response(reporter, prepared.folder / "evals" / summary["responses"], prepared.evaluation.show)
    return summary


def _execute(prepared: EvalJob) -> float:
    from opdkit.console.terminal import terminal_reporter

    with terminal_reporter(silent=not current().main) as reporter:
        return float(execute(prepared, reporter)["pass@1"])


_COMMAND = application.Command("eval", prepare, _execute)
