"""`opdkit eval`: evaluates one model on benchmarks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from opdkit.cli import application
from opdkit.cli.arguments import Request, read
from opdkit.cli.run_folder import check_writable, new_folder
from opdkit.cli.single import single_job
from opdkit.config.build import Origin, build_evaluation
from opdkit.config.near import refusal
from opdkit.config.overrides import parse
from opdkit.console.episodes import SHOWN
from opdkit.errors import UserError
from opdkit.world.launched import current

if TYPE_CHECKING:
    from opdkit.console.terminal import Reporter
    from opdkit.training.experiment import Evaluation
    from opdkit.training.run import Summary


_LONGEST_NAME = 100


@dataclass(frozen=True)
class EvalJob:
    """A checked evaluation that has not started, and its results folder."""

    evaluation: Evaluation
    folder: Path


def run(arguments: Sequence[str]) -> int:
    """Exit status of `opdkit eval`."""
    asked = request(arguments)
    names = benchmarks(asked)
    if not names:
        return application.run(_COMMAND, asked, job)
    jobs = prepare_several(asked, names)
    from opdkit.console.terminal import terminal_reporter

    with terminal_reporter(silent=not current().main) as reporter:
        execute_several(jobs, reporter)
    return 0


def request(arguments: Sequence[str]) -> Request:
    """Parses the command line of `opdkit eval`."""
    return _as_meant(read("eval", arguments))


_MEANT = {
    "task.path=": "benchmark.path=",
    "sampler=": "sampler@benchmark.sampler=",
    "sampler.": "benchmark.sampler.",
    "rollout.max_new_tokens=": "benchmark.max_new_tokens=",
    "rollout.max_prompt_tokens=": "max_prompt_tokens=",
    "rollout.batch_size=": "batch_size=",
    "rollout.cache_gib=": "cache_gib=",
}
"""Key of `opdkit train` -> key of `opdkit eval`, whose benchmark contains task, sampler and length."""


def _as_meant(request: Request) -> Request:
    texts = list(request.overrides)
    for said, meant in _MEANT.items():
        texts = [meant + text.removeprefix(said) if text.startswith(said) else text for text in texts]
    return replace(request, overrides=tuple(texts))


def benchmarks(request: Request) -> list[str]:
    """The names in `benchmark=[a,b]` or `benchmark=a,b`; empty for a single benchmark or a sweep."""
    typed = next((item for item in parse(request.overrides) if item.key == "benchmark"), None)
    if typed is None or request.multirun:
        return []
    if typed.override.is_discrete_sweep():
        names = list(typed.override.sweep_string_iterator())
    elif isinstance(typed.value, list):
        names = [str(name) for name in typed.value]
    else:
        return []
    if request.shows:
        raise UserError(f"{typed.text}: --cfg shows one benchmark at a time")
    if not names or len(set(names)) < len(names):
        raise UserError(f"{typed.text}: allowed: names of benchmarks, each once")
    return names


def prepare_several(asked: Request, names: Sequence[str]) -> list[EvalJob]:
    """One checked job per benchmark, sharing one folder. Raises UserError before anything runs."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    others = [text for text in asked.overrides if not text.startswith("benchmark=")]
    if len(names) > 1 and (path := next((text for text in others if text.startswith("benchmark.path=")), None)):
        raise UserError(f"{path}: {len(names)} benchmarks can't share one file; run them one by one")
    jobs: list[EvalJob] = []
    for name in names:
        one = replace(asked, overrides=(*others, f"benchmark={name}"))
        config, origin = single_job(one, "opdkit eval")
        given = config.run_dir
        folder = jobs[0].folder if jobs else Path(given) if given else None
        folder = folder or _new(Path(config.paths.runs), f"eval-{'-'.join(names)}"[:_LONGEST_NAME])
        jobs.append(prepare(config, origin, folder))
    called = [job.evaluation.benchmark.name for job in jobs]
    if len(set(called)) < len(called):
        raise UserError(f"benchmark={','.join(names)}: two of them have the file name {called[0]}; run them one by one")
    return jobs


def job(config: DictConfig) -> float:
    """Called by Hydra once per job."""
    return application.run_job(_COMMAND, config)


def prepare(config: DictConfig, origin: Origin, sweep_folder: Path | None = None) -> EvalJob:
    """Checks one job without side effects. Raises UserError."""
    evaluation = build_evaluation(config, origin)
    given = evaluation.resolved["run_dir"]
    runs = Path(evaluation.resolved["paths"]["runs"])
    folder = sweep_folder or (Path(given) if given else _new(runs, f"eval-{origin.choices['benchmark']}"))
    if current().main:
        _require_fit(folder, evaluation)
    _check_show(evaluation)
    return EvalJob(evaluation, folder)


def _new(runs: Path, name: str) -> Path:
    """A new folder, the same in all processes."""
    return Path(current().from_main(lambda: str(new_folder(runs, name))))


def _require_fit(folder: Path, evaluation: Evaluation) -> None:
    """Raises UserError for a folder that the evaluation cannot use."""
    check_writable(folder)
    name = evaluation.benchmark.name
    begun = folder / "evals" / f"{name}.responses.jsonl"
    if begun.exists() and not evaluation.resume:
        raise UserError(
            f"run_dir={folder}: already holds {begun.name}; add resume=true to continue, or name another folder"
        )


def _check_show(evaluation: Evaluation) -> None:
    """Raises UserError for an unknown identifier before anything runs."""
    if evaluation.show is None or evaluation.show in SHOWN:
        return
    known = [problem.identifier for problem in evaluation.benchmark.problems()]
    if evaluation.show not in known:
        choices = (*SHOWN, *known)
        raise UserError(refusal(f"show={evaluation.show}", "no such response", evaluation.show, choices))


def execute(prepared: EvalJob, reporter: Reporter) -> Summary:
    """Runs a job, prints the results and returns its summary."""
    return execute_several([prepared], reporter)[0]


def execute_several(jobs: Sequence[EvalJob], reporter: Reporter) -> list[Summary]:
    """Runs jobs of one model in one folder, prints one table of results and returns their summaries."""
    from opdkit.console.episodes import show_response
    from opdkit.console.summary import close_evaluation
    from opdkit.training.run import evaluate

    folder = jobs[0].folder
    summaries = evaluate([job.evaluation for job in jobs], folder, reporter)
    if current().main:
        close_evaluation(reporter, summaries, folder)
        for job, summary in zip(jobs, summaries, strict=True):
            if job.evaluation.show is not None:
                show_response(reporter, folder / "evals" / summary["responses"], job.evaluation.show)
    return summaries


def _execute(prepared: EvalJob) -> float:
    from opdkit.console.terminal import terminal_reporter

    with terminal_reporter(silent=not current().main) as reporter:
        return float(execute(prepared, reporter)["pass@1"])


_COMMAND = application.Command("eval", prepare, _execute)
