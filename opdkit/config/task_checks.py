"""Checks a run's tasks against its other choices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.training.experiment import Experiment
    from opdkit.training.tasks import TaskSettings


def check_tasks(experiment: Experiment) -> None:
    """Raises UserError if a task does not fit the rollout engine, or tasks can't share a run."""
    _check_shares(experiment)
    from opdkit.environments import EnvironmentSource
    from opdkit.generation import EpisodeRollout

    tasks = experiment.tasks()
    for name, task in tasks.items():
        if isinstance(task.source, EnvironmentSource) and not isinstance(task.rollout, EpisodeRollout):
            key = f"task.parts.{name}.rollout" if name else "rollout"
            raise UserError(
                f"{key}: {task.source.name} has episodes, and {type(task.rollout).__name__} writes single responses; "
                f"allowed: rollout=episodes"
            )
        if experiment.max_staleness and task.rollout.in_process() != task.rollout:
            raise UserError(
                f"max_staleness={experiment.max_staleness}: an engine in another process has only the newest weights; "
                "allowed: max_staleness=0, or rollout=hf"
            )
        if task.rollout.correction.mode != "none" and experiment.temperature != 1.0:
            raise UserError(
                f"rollout.engine_correction={task.rollout.correction.mode}: vLLM returns log-probs at temperature 1, "
                f"and temperature={experiment.temperature}; allowed: temperature=1, or engine_correction=none"
            )
    _check_benchmarks(tasks)


def _check_shares(experiment: Experiment) -> None:
    """If every step has all tasks, every mini-batch must have all tasks, too."""
    from opdkit.tasks import MultiTask

    task, batch = experiment.task, experiment.batch
    if not isinstance(task, MultiTask) or task.schedule != "mixed":
        return
    for name, prompts in task.split(batch.prompts).items():
        rollouts = prompts * batch.rollouts_per_prompt
        if rollouts < batch.mini_batches:
            raise UserError(
                f"batch.prompts={batch.prompts}: task.parts.{name} has {prompts} of them, too few to be in each of the "
                f"step's {batch.mini_batches} mini-batches; allowed: more prompts, a larger share or mini_batch, or "
                "task.schedule=alternating"
            )


def _check_benchmarks(tasks: Mapping[str, TaskSettings]) -> None:
    owners: dict[str, str] = {}
    for name, task in tasks.items():
        benchmark = task.benchmark.name
        if benchmark in owners:
            raise UserError(
                f"task.parts.{name} and task.parts.{owners[benchmark]} have the same benchmark, {benchmark}; "
                "allowed: one for each"
            )
        owners[benchmark] = name
