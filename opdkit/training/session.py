"""The in-memory state of a run: models, optimiser, and each task's order of problems."""

from __future__ import annotations

import copy
import gc
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState
from safetensors.torch import load_file, save_file

from opdkit import device
from opdkit.data.loss import Needs
from opdkit.diagnostics import named_subset
from opdkit.errors import UserError
from opdkit.models import LanguageModel, Scorer
from opdkit.rewards import RewardContext
from opdkit.runs.checkpoint import Found, restore_divided, restore_optimizer, restore_student, teacher_states
from opdkit.seeding import derive_seed
from opdkit.tasks import ProblemSource
from opdkit.teachers import OpenTeacher
from opdkit.training.ahead import AheadCollector, Work
from opdkit.training.collect import RolloutCollector
from opdkit.training.experiment import Experiment
from opdkit.training.policy import Policy, Weights
from opdkit.training.run_models import autocast_of, open_student, placement_of, teachers_of
from opdkit.training.step_data import StepData
from opdkit.training.tasks import TaskRun, open_task, read_data, written_by
from opdkit.training.update import Updater
from opdkit.world.world import World

_AHEAD = "ahead.safetensors"


@dataclass(frozen=True)
class Session:
    """The loaded state of a run. tasks: by name, "" for a single task."""

    policy: Policy
    tasks: Mapping[str, TaskRun]
    schedule: Any
    updater: Updater
    ahead: AheadCollector | None = None

    @property
    def world(self) -> World:
        """The ranks of the run."""
        return self.policy.world

    def collect(self, step: int) -> list[StepData]:
        """The data of step `step` (from 0), from the task whose turn it is, or from all tasks."""
        if self.ahead is not None:
            # From here on this thread, not the collecting one, communicates about them.
            taken = self.ahead.take(step)
            return [replace(part, share=replace(part.share, world=self.world)) for part in taken]
        return collect_tasks({name: task.collector for name, task in self.tasks.items()}, self.schedule, step)

    def samplers(self, step: int) -> dict[str, dict[str, int]]:
        """Each task's position in its order of problems before step `step`, for a checkpoint."""
        return walks_of(self.tasks) if self.ahead is None else self.ahead.walks(step)

    def waits(self) -> dict[str, float]:
        """Waiting times in the last step, if steps are collected ahead."""
        return {} if self.ahead is None else self.ahead.metrics()

    @property
    def several_terms(self) -> bool:
        """Whether the loss has more than one term, even if in different steps."""
        return len({term.name for task in self.tasks.values() for term in task.collector.terms}) > 1

    def open_teachers(self) -> list[OpenTeacher]:
        """Each teacher once."""
        held = [teacher for task in self.tasks.values() for teacher in task.collector.teachers.values()]
        return list({id(teacher): teacher for teacher in held}.values())

    def teacher_bytes(self) -> int:
        """The teachers' current memory."""
        return sum(teacher.bytes() for teacher in self.open_teachers())

    def after_update(self, step: int) -> None:
        """Called after the updates of step `step` (from 0)."""
        for teacher in self.open_teachers():
            teacher.after_update(step)
        self.policy.placement.rest()

    def save(self, folder: Path, card: str) -> None:
        """Write the student as a Hugging Face folder, and the weights that generated the pending steps."""
        self.policy.save(folder, card)
        if self.ahead is not None and (weights := self.ahead.pending()):
            save_file({name: value.cpu().contiguous() for name, value in weights.items()}, folder / _AHEAD)

    def save_final(self, folder: Path, card: str, weights: Weights | None) -> None:
        """Write the final student, which must not be used afterwards. weights: see `Policy.gathered`."""
        self.policy.save_final(folder, card, weights)

    def close(self) -> None:
        """Stop the processes of games, teachers and rewards."""
        if self.ahead is not None:
            self.ahead.close()
        for task in self.tasks.values():
            task.collector.source.close()
            for writer in task.collector.writers.values():
                if writer.engine is not None:
                    writer.engine.close()
            for reward in task.collector.rewards.values():
                reward.close()
        for teacher in self.open_teachers():
            teacher.close()


def open_session(experiment: Experiment, found: Found | None, folder: Path | None = None) -> Session:
    """Load data, then models. found: the checkpoint of a resumed run. folder: the run's, for the records of rewards.

    Data come first, so that a wrong path is reported before gigabytes of weights are loaded.
    """
    torch.manual_seed(derive_seed(experiment.seed, "torch"))
    tasks = experiment.tasks()
    data = {name: read_data(task) for name, task in tasks.items()}
    accelerator = device.accelerator(experiment.precision)
    placement = placement_of(experiment, accelerator.device)
    student = placement.place(lambda: open_student(experiment, found, placement.loads_on), autocast_of(experiment))
    teachers = teachers_of(experiment, student, placement)
    vocabulary = min([student.vocabulary, *(teacher.vocabulary for teacher in teachers.values())])
    _check_support(experiment, vocabulary)
    restricted = {id(teacher): teacher.restricted(vocabulary) for teacher in teachers.values()}
    student = student.restricted(vocabulary)
    policy = Policy.of(student, experiment.optimizer, accelerator, experiment.temperature, placement)
    runs = {
        name: open_task(
            task,
            data[name],
            policy,
            {t.name: restricted[id(teachers[name, t.name])] for t in task.terms if t.teacher is not None},
            experiment.collecting(),
            RewardContext(
                task.source.grade if isinstance(task.source, ProblemSource) else None,
                _reward_folder(folder, name),
                experiment.seed,
            ),
        )
        for name, task in tasks.items()
    }
    updater = Updater(
        policy, policy.world, experiment.optimizer.clip_norm, experiment.batch.pass_size,
        policy.watched(_watched(experiment, student)), experiment.deterministic,
    )  # fmt: skip
    if found:
        restore_student(found, policy.divided())
        restore_optimizer(found, policy.optimizer)
        for name, run in runs.items():
            run.collector.source.sampler.restore(found.state["walks"][name])
    session = Session(policy, runs, experiment.alternation(), updater, _ahead(experiment, runs, policy, found))
    if found:
        restore_divided(found, [teacher.state() for teacher in session.open_teachers()])
    for teacher, state in zip(session.open_teachers(), teacher_states(found) if found else (), strict=False):
        teacher.restore(state)
    return session


def collect_tasks(
    collectors: Mapping[str, RolloutCollector], schedule: Any, step: int, version: int | None = None
) -> list[StepData]:
    """The data of step `step` (from 0), from the task whose turn it is, or from all tasks."""
    turn = [collectors[schedule.turn(step)]] if schedule is not None else collectors.values()
    return [data for collector in turn for data in collector.collect(step, version)]


def walks_of(tasks: Mapping[str, TaskRun]) -> dict[str, dict[str, int]]:
    """Each task's current position in its order of problems."""
    return {name: task.collector.source.sampler.state() for name, task in tasks.items()}


def _ahead(
    experiment: Experiment, runs: Mapping[str, TaskRun], policy: Policy, found: Found | None
) -> AheadCollector | None:
    """The background collector, with a copy of the student. None if every step is collected with the current
    weights."""
    if experiment.max_staleness == 0:
        return None
    world = policy.world.apart()
    module = copy.deepcopy(policy.model.module).requires_grad_(False).eval()
    model = replace(policy.model, module=module)
    writer = replace(policy, model=model, scorer=Scorer(model), world=world)
    collectors = {name: written_by(run, writer) for name, run in runs.items()}
    schedule = experiment.alternation()
    collect = partial(collect_tasks, collectors, schedule)
    work = Work(collect, lambda: walks_of(runs), module, world)
    ahead = AheadCollector(work, policy.model.module, experiment.max_staleness, experiment.steps)
    if found:
        kept = found.folder / _AHEAD
        ahead.restore(int(found.state["step"]), load_file(kept) if kept.is_file() else {})
    return ahead


def close_session() -> None:
    """Reset accelerate's process-wide state, so that the next job of a sweep starts clean."""
    for state in (AcceleratorState, GradientState, PartialState):
        state._reset_state()
    gc.collect()
    device.empty_cache()


def _reward_folder(folder: Path | None, task: str) -> Path | None:
    """The folder for the recorded exchanges of a task's reward."""
    return None if folder is None else folder / "reward" / task


def _check_support(experiment: Experiment, vocabulary: int) -> None:
    for task in experiment.tasks().values():
        for term in task.terms:
            needs: Needs = term.objective.needs
            if needs.k > vocabulary:
                raise UserError(f"objective.k={needs.k}: more than the vocabulary of {vocabulary}")


def _watched(experiment: Experiment, student: LanguageModel) -> list[str]:
    pattern = experiment.gradient_variance
    if pattern is None:
        return []
    try:
        found = named_subset(student.own_parameters(), pattern)
    except re.error as error:
        raise UserError(f"gradient_variance={pattern!r} is not a regular expression: {error}") from error
    if not found:
        raise UserError(f"gradient_variance={pattern!r} matches no parameter of {student.name}")
    return found
