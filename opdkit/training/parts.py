"""A task of a run with what belongs to it: its data, its teacher, and how its rollouts are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from opdkit.data.problem import Message, Problem
from opdkit.environments import EnvironmentPool, EnvironmentSource
from opdkit.errors import UserError, error_prefix
from opdkit.experiment import Experiment
from opdkit.models import ChatFrame, LanguageModel
from opdkit.seeding import derive_seed
from opdkit.teachers import LoadedTeacher, OffloadedTeacher
from opdkit.training.collect import RolloutCollector
from opdkit.training.episodes import EpisodeSource
from opdkit.training.play import Player
from opdkit.training.problems import EpochSampler, ProblemStream
from opdkit.training.writing import AnswerSource, RolloutSource


@dataclass(frozen=True)
class Models:
    """The models of a task, in memory or ready to be read."""

    accelerator: Accelerator
    student: LanguageModel
    teacher: LoadedTeacher | OffloadedTeacher


@dataclass(frozen=True)
class TaskRun:
    """One task of a run; `experiment` is the run as this task sees it."""

    experiment: Experiment
    teacher: LoadedTeacher | OffloadedTeacher
    collector: RolloutCollector


def read_data(name: str, experiment: Experiment) -> Sequence[Any]:
    """The task's problems or episodes. Its benchmark is looked at, too. Raises UserError for what can't be read."""
    with error_prefix(f"task.parts.{name}.source." if name else "task."):
        task = experiment.task
        data: Sequence[Any] = task.episodes() if is_environment(task) else task.load()
    experiment.benchmark.problems()
    return data


def open_part(name: str, experiment: Experiment, data: Sequence[Any], loaded: Models) -> TaskRun:
    """Join a task's data with the models."""
    if is_environment(experiment.task):
        writer: RolloutSource = _episode_writer(name, experiment, data, loaded)
    else:
        writer = _problem_writer(name, experiment, data, loaded)
    collector = RolloutCollector(name, experiment, loaded.accelerator, loaded.student, loaded.teacher, writer)
    return TaskRun(experiment, loaded.teacher, collector)


def is_environment(task: Any) -> bool:
    """Whether a task is played in turns, rather than answered once."""
    return isinstance(task, EnvironmentSource)


def _seed(name: str, experiment: Experiment) -> int:
    """The seed of a task's order and sampling: the run's, or one of its own where the run has several tasks."""
    return derive_seed(experiment.seed, "task", name) if name else experiment.seed


def _problem_writer(name: str, experiment: Experiment, problems: Sequence[Problem], loaded: Models) -> AnswerSource:
    student, seed = loaded.student, _seed(name, experiment)

    def render(problem: Problem) -> list[int]:
        return student.render(problem.messages)

    stream = ProblemStream(problems, render, experiment.rollout.max_prompt_tokens, seed)
    stream.require_one()
    return AnswerSource(experiment, seed, loaded.accelerator, student, stream, experiment.task.grade)


def _episode_writer(name: str, experiment: Experiment, episodes: Sequence[Any], loaded: Models) -> EpisodeSource:
    source, rollout, student = experiment.task, experiment.rollout, loaded.student
    system = [] if source.system is None else [Message("system", source.system)]
    ChatFrame(student, [*system, Message("user", "You are in a room.")])  # refuses an unfit template now
    _check_positions(student, rollout)
    player = Player(student, rollout, experiment.sampler, experiment.temperature, loaded.accelerator)
    games = EnvironmentPool(source, min(rollout.side_by_side, experiment.batch.rollouts))
    seed = _seed(name, experiment)
    return EpisodeSource(experiment, seed, player, games, episodes, EpochSampler(len(episodes), seed))


def _check_positions(student: LanguageModel, rollout: Any) -> None:
    """A chat must not outgrow the positions that the model knows: it would go on, and say nothing that means much."""
    known = getattr(student.module.config, "max_position_embeddings", None)
    asked = rollout.max_prompt_tokens + rollout.max_new_tokens
    if known is not None and asked > known:
        raise UserError(
            f"rollout.max_prompt_tokens={rollout.max_prompt_tokens} and rollout.max_new_tokens="
            f"{rollout.max_new_tokens}: together more than the {known} positions of {student.name}"
        )
