"""What a run holds in memory: both models, the optimiser, the walk over problems."""

from __future__ import annotations

import gc
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from opdkit.diagnostics import named_subset
from opdkit.errors import UserError, told_after
from opdkit.experiment import Experiment
from opdkit.models import LanguageModel, Scorer, load, require_same
from opdkit.seeding import derive_seed
from opdkit.teachers import LoadedTeacher
from opdkit.training.checkpoint import Found, restore_optimizer
from opdkit.training.collect import Collector
from opdkit.training.problems import ProblemStream
from opdkit.training.update import Updater
from opdkit.types import Problem


@dataclass(frozen=True)
class Session:
    """Everything that has been loaded for a run."""

    accelerator: Accelerator
    student: LanguageModel
    teacher: LoadedTeacher
    stream: ProblemStream
    collector: Collector
    updater: Updater
    benchmark_problems: Sequence[Problem]


def open_session(experiment: Experiment, found: Found | None) -> Session:
    """Load data, then models; take up `found` where a run goes on.

    Data come first: a wrong path is told before gigabytes are read.
    """
    torch.manual_seed(derive_seed(experiment.seed, "torch"))
    with told_after("task."):
        problems = experiment.task.load()
    benchmark_problems = experiment.benchmark.problems()
    accelerator = Accelerator(mixed_precision="bf16" if experiment.precision == "bfloat16" else "no")
    student, teacher = _models(experiment, found, accelerator.device)

    def render(problem: Problem) -> list[int]:
        return student.render(problem.messages)

    stream = ProblemStream(problems, render, experiment.rollout.max_prompt_tokens, experiment.seed)
    stream.require_one()
    stream.cursor, stream.dropped = (found.state["cursor"], found.state["dropped"]) if found else (0, 0)
    updater = _updater(experiment, accelerator, student)
    if found:
        restore_optimizer(found, updater.optimizer)
    collector = Collector(experiment, accelerator, student, teacher, stream, experiment.task.grade)
    return Session(accelerator, student, teacher, stream, collector, updater, benchmark_problems)


def close_session() -> None:
    """Forget what accelerate keeps for the process, so that the next job of a sweep starts clean."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def save_student(session: Session, folder: Path, card: str) -> None:
    """Write the student as a Hugging Face folder, with its tokenizer and a model card."""
    module = session.student.module
    module.save_pretrained(folder)
    session.student.tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(card, encoding="utf-8")


def _models(experiment: Experiment, found: Found | None, device: torch.device) -> tuple[LanguageModel, LoadedTeacher]:
    spec = experiment.model
    if found:
        spec = replace(spec, path=str(found.folder), revision=None)
    student = load(spec, device, "model")
    teacher: LoadedTeacher = experiment.teacher.load(device)
    require_same(student.tokenizer, teacher.model.tokenizer, (experiment.model.path, teacher.model.name))
    vocabulary = min(student.vocabulary, teacher.model.vocabulary)
    if experiment.objective.needs.k > vocabulary:
        raise UserError(f"objective.k={experiment.objective.needs.k}: more than the vocabulary of {vocabulary}")
    return student.restricted(vocabulary), LoadedTeacher(teacher.model.restricted(vocabulary))


def _updater(experiment: Experiment, accelerator: Accelerator, student: LanguageModel) -> Updater:
    scorer = Scorer(student)
    optimizer = experiment.optimizer.build(p for p in student.module.parameters() if p.requires_grad)
    scorer, optimizer = accelerator.prepare(scorer, optimizer)
    return Updater(
        accelerator,
        scorer,
        optimizer,
        experiment.optimizer,
        experiment.objective,
        experiment.aggregation,
        experiment.temperature,
        experiment.batch.micro_batch,
        tuple(_watched(experiment, student)),
    )


def _watched(experiment: Experiment, student: LanguageModel) -> list[torch.nn.Parameter]:
    pattern = experiment.gradient_variance
    if pattern is None:
        return []
    try:
        found = named_subset(student.module, pattern)
    except re.error as error:
        raise UserError(f"gradient_variance={pattern!r} is not a regular expression: {error}") from error
    if not found:
        raise UserError(f"gradient_variance={pattern!r} matches no parameter of {student.name}")
    return found
