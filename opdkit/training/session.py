"""What a run holds in memory: the models, the optimiser, and each task's walk over its problems."""

from __future__ import annotations

import gc
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

from opdkit.diagnostics import named_subset
from opdkit.errors import UserError
from opdkit.experiment import Experiment
from opdkit.models import LanguageModel, Scorer, load, require_same
from opdkit.runs.checkpoint import Found, restore_optimizer
from opdkit.seeding import derive_seed
from opdkit.teachers import LoadedTeacher, OffloadedTeacher, hold_teachers
from opdkit.training.collect import StepData
from opdkit.training.parts import Models, TaskRun, open_part, read_data
from opdkit.training.update import Updater


@dataclass(frozen=True)
class Session:
    """Everything that has been loaded for a run. parts: its tasks, one under "" where there is only one."""

    experiment: Experiment
    accelerator: Accelerator
    student: LanguageModel
    parts: Mapping[str, TaskRun]
    updater: Updater

    def collect(self, step: int) -> list[StepData]:
        """What step `step` (from 0) is made of: the batch of the task whose turn it is, or one batch for each task."""
        task = self.experiment.task
        alternating = getattr(task, "schedule", "") == "alternating"
        turn = [self.parts[task.turn(step)]] if alternating else self.parts.values()
        return [part.collector.collect(step) for part in turn]

    def walks(self) -> dict[str, dict[str, int]]:
        """Where each task's walk over its problems stands, for a checkpoint."""
        return {name: part.collector.writer.walk.state() for name, part in self.parts.items()}

    def teachers_mebibytes(self) -> float:
        """What the teachers take in memory now."""
        return sum(teacher.mebibytes for teacher in {id(p.teacher): p.teacher for p in self.parts.values()}.values())

    def close(self) -> None:
        """End the processes of games."""
        for part in self.parts.values():
            part.collector.writer.close()


def open_session(experiment: Experiment, found: Found | None) -> Session:
    """Load data, then models; take up `found` where a run goes on.

    Data come first: a wrong path is told before gigabytes are read.
    """
    torch.manual_seed(derive_seed(experiment.seed, "torch"))
    tasks = experiment.by_task()
    data = {name: read_data(name, task) for name, task in tasks.items()}
    accelerator = Accelerator(mixed_precision="bf16" if experiment.precision == "bfloat16" else "no")
    student, teachers = _models(experiment, found, accelerator.device)
    parts = {
        name: open_part(name, task, data[name], Models(accelerator, student, teachers[name]))
        for name, task in tasks.items()
    }
    updater = _updater(experiment, accelerator, student)
    if found:
        restore_optimizer(found, updater.optimizer)
        for name, part in parts.items():
            part.collector.writer.walk.restore(found.state["walks"][name])
    return Session(experiment, accelerator, student, parts, updater)


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


def _models(
    experiment: Experiment, found: Found | None, device: torch.device
) -> tuple[LanguageModel, dict[str, LoadedTeacher | OffloadedTeacher]]:
    spec = experiment.model
    if found:
        spec = replace(spec, path=str(found.folder), revision=None)
    student = load(spec, device, "model", trains=True)
    specs = {name: task.teacher for name, task in experiment.by_task().items()}
    teachers = hold_teachers(specs, device, swap=getattr(experiment.task, "teachers", "keep") == "swap")
    vocabulary = student.vocabulary
    for teacher in teachers.values():
        require_same(student.tokenizer, teacher.model.tokenizer, (experiment.model.path, teacher.model.name))
        vocabulary = min(vocabulary, teacher.model.vocabulary)
    if experiment.objective.needs.k > vocabulary:
        raise UserError(f"objective.k={experiment.objective.needs.k}: more than the vocabulary of {vocabulary}")
    restricted = {id(teacher): teacher.restricted(vocabulary) for teacher in teachers.values()}  # one may serve several
    return student.restricted(vocabulary), {name: restricted[id(teacher)] for name, teacher in teachers.items()}


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
