"""Implements `opdkit.train`, `opdkit.evaluate` and `opdkit.report`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from opdkit.api.run import EvaluationRun, Run
from opdkit.cli import eval as eval_command
from opdkit.cli import train as train_command
from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.config.catalogue import objectives
from opdkit.console.terminal import Reporter, SilentReporter, terminal_reporter
from opdkit.reports.document import collect
from opdkit.reports.text import line
from opdkit.reports.writing import write
from opdkit.training.callbacks import Callback


def train(
    overrides: Sequence[str] = (),
    *,
    callbacks: Sequence[Callback] = (),
    config_dir: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Trains a student in this process, like `opdkit train`.

    Args:
        overrides: the arguments of `opdkit train`: `["objective=topk", "k=32", "steps=10"]`.
        callbacks: called after each step, evaluation and checkpoint.
        config_dir: folder with your own options.
        quiet: print nothing.

    Raises:
        UserError: for a wrong key or value, before anything is written.
        RunError: if the run can't continue.
    """
    job = train_command.prepare(*single_job(read("train", _arguments(overrides, config_dir)), "opdkit.train"))
    with _reporter(quiet) as reporter:
        summary = train_command.execute(job, reporter, callbacks)
    return Run(job.folder, summary)


def evaluate(
    overrides: Sequence[str] = (), *, config_dir: str | Path | None = None, quiet: bool = False
) -> EvaluationRun:
    """Evaluates a model on benchmarks, like `opdkit eval`: `["model.path=...", "benchmark=gsm8k,math500"]`.

    The arguments and errors are those of `train`.
    """
    request = eval_command.request(_arguments(overrides, config_dir))
    names = eval_command.benchmarks(request)
    if names:
        jobs = eval_command.prepare_several(request, names)
    else:
        jobs = [eval_command.prepare(*single_job(request, "opdkit.evaluate"))]
    with _reporter(quiet) as reporter:
        summaries = eval_command.execute_several(jobs, reporter)
    return EvaluationRun(jobs[0].folder, {str(summary["benchmark"]): summary for summary in summaries})


def report(runs: Sequence[str | Path | Run], out: str | Path = "report") -> Path:
    """Compares runs on one page, like `opdkit report`. Skipped runs are reported as warnings.

    Args:
        runs: runs, run folders, parent folders, or globs.
        out: output folder for report.html, report.md, CSV files and figures.

    Returns:
        The path of report.html.
    """
    document = collect([str(one.path) if isinstance(one, Run) else str(one) for one in runs], objectives())
    for remark in document.remarks:
        warnings.warn(line(remark), stacklevel=2)
    return write(document, Path(out))


def _arguments(overrides: Sequence[str], config_dir: str | Path | None) -> list[str]:
    return [*overrides, *(() if config_dir is None else ("--config-dir", str(config_dir)))]


@contextmanager
def _reporter(quiet: bool) -> Iterator[Reporter]:
    if quiet:
        yield SilentReporter()
        return
    with terminal_reporter() as reporter:
        yield reporter
