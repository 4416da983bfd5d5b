"""Training and evaluation with a built configuration."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from opdkit import device
from opdkit.console.terminal import Reporter
from opdkit.diagnostics import environment
from opdkit.errors import UserError
from opdkit.evaluation import (
    Asking,
    Benchmark,
    EpisodeBenchmark,
    evaluate_on,
    open_engine,
    same_answers,
    writes_here,
)  # fmt: skip
from opdkit.files import write_folder, write_whole
from opdkit.generation import Engine
from opdkit.loggers import no_loggers, open_loggers
from opdkit.models import LanguageModel, load
from opdkit.runs import checkpoint
from opdkit.runs.folder import RunFolder
from opdkit.tasks import Telling
from opdkit.teachers import OpenLocalTeacher
from opdkit.training.callbacks import Callback
from opdkit.training.experiment import Evaluation, Experiment
from opdkit.training.loop import Loop, Progress
from opdkit.training.records import Records, evaluation_metrics
from opdkit.training.run_models import parts_of
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.signals import graceful_stop
from opdkit.training.take_up import take_up
from opdkit.training.watch import Watch
from opdkit.world.world import World

Summary = dict[str, Any]


def train(
    experiment: Experiment,
    run_dir: Path,
    reporter: Reporter,
    command: str = "",
    may_begin: bool = False,
    warnings: Callable[[Experiment, Session], Sequence[str]] = lambda experiment, session: (),
    callbacks: Sequence[Callback] = (),
) -> Summary:
    """Run `experiment` in `run_dir` and return its summary: before, after, teacher, and paths.

    command: the command line, for env.json. may_begin: whether a run that ended before its first checkpoint starts
    again (resume=true for a whole sweep, or resume=auto); otherwise that is an error. warnings: computes the warnings
    shown before the first step. callbacks: called at the run's events.

    Raises UserError before anything is written where the input is wrong, RunError where the run can't go on,
    Interrupted after a signal (the run has saved itself).
    """
    world, folder = World.current(), RunFolder(run_dir)
    require_fit(experiment, world)
    try:
        with _owned(folder, world):
            found = world.from_main(lambda: take_up(experiment, folder, reporter, may_begin))
            done = world.from_main(lambda: bool(experiment.resume) and found is None and folder.summary.exists())
            if done:
                return json.loads(folder.summary.read_text(encoding="utf-8"))
            about = {"command": command, **environment(experiment.seed)}
            return _train(experiment, folder, reporter, found, about, warnings, callbacks)
    finally:
        close_session()


@contextmanager
def _owned(folder: RunFolder, world: World) -> Iterator[None]:
    """A context in which rank 0 locks the run folder. The other ranks enter after it and wait for it at the end."""
    with folder.owned() if world.main else nullcontext():
        world.from_main(lambda: None)
        yield
        world.from_main(lambda: None)


def _train(
    experiment: Experiment,
    folder: RunFolder,
    reporter: Reporter,
    found: checkpoint.Found | None,
    about: Mapping[str, object],
    warnings: Callable[[Experiment, Session], Sequence[str]],
    callbacks: Sequence[Callback],
) -> Summary:
    started = time.perf_counter()
    reporter.stage("loading models and data")
    session = open_session(experiment, found, folder.path)
    with ExitStack() as stack:
        stack.callback(session.close)
        main = session.world.main
        if found is None and main:
            folder.start(experiment.resolved, {**about, "attention": _attention(session)})
        first = int(found.state["step"]) if found else 0
        opened = open_loggers(experiment.loggers, folder.path, experiment.resolved, first)
        loggers = stack.enter_context(opened) if main else no_loggers()
        records = Records(experiment.recording(), session, folder, reporter, loggers, callbacks)
        _tell_start(reporter, experiment, warnings(experiment, session) if found is None and main else ())
        stop = stack.enter_context(graceful_stop())
        scores = {"before": records.benchmark_student(0, "before")}
        if (teacher := records.benchmark_teachers()) is not None:
            scores["teacher"] = teacher
        progress, watch = Progress(first), Watch.of(experiment.early_stop, experiment.keep_best)
        if found:
            progress = Progress(first, found.state["bad_in_a_row"], found.state["skipped_updates"])
            watch.restore(found.state.get("watch", {}))
        loop = Loop(experiment.looping(), session, folder.checkpoints, records, stop, watch, progress)
        reporter.stage("training")
        loop.run()
        steps = progress.step
        after = records.benchmark_student(steps, "after")
        if steps == experiment.steps:
            loop.read(evaluation_metrics(after))
        weights = session.policy.gathered()
        if main:
            write_folder(folder.final, lambda beside: session.save_final(beside, records.card(steps), weights))
    summary = {
        "benchmark": experiment.benchmark_names,
        **scores,
        "after": after,
        "steps": steps,
        **_watched(experiment, watch, folder, steps),
        "seconds": round(time.perf_counter() - started, 1),
        "metrics_share": records.overhead.share,
        "run_dir": str(folder.path),
    }
    if session.world.main:
        write_whole(folder.summary, json.dumps(summary, indent=1) + "\n")
    return summary


def _watched(experiment: Experiment, watch: Watch, folder: RunFolder, steps: int) -> Summary:
    """The summary's entries on early stopping and on the best student."""
    entries: Summary = {}
    if watch.stop is not None and steps < experiment.steps:
        entries["stopped_early"] = {
            **asdict(watch.stop),
            "of": experiment.steps,
            "early_stop": asdict(experiment.early_stop),
        }
    if watch.keep is not None and watch.keep.value is not None:
        entries["best"] = {**asdict(watch.keep), "folder": str(folder.best)}
    return entries


def require_fit(experiment: Experiment, world: World) -> None:
    """Raises UserError for settings that are impossible with this number of processes."""
    parts_of(experiment, world.size)
    if world.size == 1:
        return
    if experiment.batch.mini_batch < world.size:
        raise UserError(
            f"batch.mini_batch={experiment.batch.mini_batch}: fewer rollouts than the {world.size} processes; "
            f"allowed: at least one for each, or fewer processes"
        )
    if experiment.cadence.probe_every:
        raise UserError(
            f"probe_every={experiment.cadence.probe_every}: the probe takes gradients one by one, which is done in one "
            f"process; allowed with several: probe_every=0"
        )


def _tell_start(reporter: Reporter, experiment: Experiment, warnings: Sequence[str]) -> None:
    """Report the messages before the first step."""
    for task in experiment.tasks().values():
        _tell(reporter, task.source, task.benchmark)
    for warning in warnings:
        reporter.note(f"warning: {warning}")


def _tell(reporter: Reporter, *sources: object) -> None:
    """Report what the sources have guessed about their data."""
    for source in sources:
        chosen = source.chosen_source if isinstance(source, Benchmark) else source
        for line in chosen.told() if isinstance(chosen, Telling) else ():
            reporter.note(line)


def _attention(session: Session) -> dict[str, str]:
    """The attention implementation of each loaded model, for env.json."""
    teachers = {
        f"teacher of {name}" if name else "teacher": task.teacher.attention
        for name, task in session.tasks.items()
        if isinstance(task.teacher, OpenLocalTeacher)
    }
    return {"model": session.policy.model.attention, **teachers}


def evaluate(evaluations: Sequence[Evaluation], run_dir: Path, reporter: Reporter) -> list[Summary]:
    """Evaluate one model on several benchmarks in turn. Results go to `run_dir`/evals; returns their summaries.

    evaluations: they may differ only in the benchmark.
    """
    folder = RunFolder(run_dir)
    try:
        with _owned(folder, World.current()):
            for evaluation in evaluations:  # report a wrong path before loading the model
                _prepare(evaluation, reporter)
            first = evaluations[0]
            reporter.stage("loading the model")
            model = _loaded(first)
            benchmarks = [evaluation.benchmark for evaluation in evaluations]
            with closing(open_engine(first.rollout, first.limits, benchmarks, model)) as engine:
                engine.refresh(model, 0)
                return [_evaluate(evaluation, model, engine, folder, reporter) for evaluation in evaluations]
    finally:
        close_session()


def _prepare(evaluation: Evaluation, reporter: Reporter) -> None:
    benchmark = evaluation.benchmark
    benchmark.problems()
    _tell(reporter, benchmark)
    if warning := same_answers(benchmark.sampler, benchmark.n_samples):
        reporter.note(f"warning: {benchmark.name}: {warning}")


def _loaded(evaluation: Evaluation) -> LanguageModel:
    """The model, on the accelerator if it generates in this process, else on the CPU, since a server uses the GPU."""
    accelerator = device.accelerator(evaluation.precision)
    place = accelerator.device if writes_here(evaluation.rollout) else "cpu"
    autocast = torch.bfloat16 if evaluation.precision == "bfloat16" else None
    return replace(load(evaluation.model, place, "model"), autocast=autocast)


def _evaluate(
    evaluation: Evaluation, model: LanguageModel, engine: Engine, folder: RunFolder, reporter: Reporter
) -> Summary:
    benchmark = evaluation.benchmark
    longest = evaluation.limits.max_prompt_tokens
    asking = Asking(engine, model, longest, evaluation.seed, folder.evals, reporter.stage)
    return evaluate_on(asking, benchmark, benchmark.baselines if isinstance(benchmark, EpisodeBenchmark) else ())
