"""Describes what a run would do and need, from its configuration and model shapes, without reading weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from opdkit.models import ModelSpec, load_skeleton
from opdkit.training.experiment import Experiment

_MIB = 2**20
_STATES = 3
"""Gradient and two AdamW moments per trainable parameter."""


def plan(experiment: Experiment, folder: Path) -> Iterator[tuple[str, str]]:
    """The plan as (label, text) rows. Raises UserError for a model whose config can't be read."""
    student = load_skeleton(experiment.model)
    parameters = sum(p.numel() for p in student.module.parameters())
    yield "student", _model(experiment.model, parameters, student.mebibytes)
    weights = student.mebibytes
    for name, spec in _teachers(experiment).items():
        if isinstance(spec, ModelSpec):
            teacher = load_skeleton(spec, "teacher")
            weights += teacher.mebibytes
            count = sum(p.numel() for p in teacher.module.parameters())
            yield "teacher", _model(spec, count, teacher.mebibytes)
        else:
            yield "teacher", f"{name} ({type(spec).__name__})"
    learns = _STATES * student.mebibytes
    yield (
        "memory",
        f"at least {weights + learns:,.0f} MiB: weights {weights:,.0f}, gradients and optimiser {learns:,.0f} where "
        "all parameters learn; activations and caches come on top (`opdkit doctor` estimates them)",
    )
    for name, task in experiment.tasks().items():
        limits = f"prompts up to {task.rollout.max_prompt_tokens} tokens, responses up to {task.rollout.max_new_tokens}"
        yield f"task {name}".strip(), f"{task.source.name}, {limits}; benchmark {task.benchmark.name}"
    yield from _steps(experiment)
    yield from _watched(experiment)
    if experiment.push_to_hub is not None:
        yield "upload", f"final/ to {experiment.push_to_hub} on the Hub when the run completes"
    yield "files", f"{folder}/: config.yaml, env.json, metrics.jsonl, samples.jsonl, evals/, checkpoints/, final/"


def _steps(experiment: Experiment) -> Iterator[tuple[str, str]]:
    batch, cadence, steps = experiment.batch, experiment.cadence, experiment.steps
    yield (
        "a step",
        f"{batch.rollouts} rollouts ({batch.prompts} prompts x {batch.rollouts_per_prompt}), {batch.updates} updates "
        f"of {batch.mini_batch} rollouts, {batch.micro_batch} per forward pass",
    )
    yield "steps", f"{steps}: {steps * batch.rollouts:,} rollouts, {steps * batch.updates:,} updates"
    within = (steps - 1) // cadence.eval_every if cadence.eval_every else 0
    between = f", {within} in between" if within else ""
    yield "evaluations", f"before and after, the teacher once{between}"
    every = f"every {cadence.checkpoint_every} steps and at the end" if cadence.checkpoint_every else "at the end"
    yield "checkpoints", f"{every}, the newest {cadence.keep_checkpoints} kept"


def _watched(experiment: Experiment) -> Iterator[tuple[str, str]]:
    stop, keep = experiment.early_stop, experiment.keep_best
    if stop.metric is not None:
        yield "early stop", f"if {stop.metric} ({stop.mode}) does not improve in {stop.patience} readings"
    if keep.metric is not None:
        yield "best", f"the student of the step with the best {keep.metric} ({keep.mode}), in best/"


def _teachers(experiment: Experiment) -> dict[str, object]:
    """The distinct teachers of all terms, by their typed names."""
    return {
        term.teacher.path: term.teacher
        for task in experiment.tasks().values()
        for term in task.terms
        if term.teacher is not None
    }


def _model(spec: ModelSpec, parameters: int, mebibytes: float) -> str:
    return f"{spec.path}, {parameters / 1e6:,.1f} M parameters in {spec.dtype}, {mebibytes:,.1f} MiB"
