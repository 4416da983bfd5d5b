"""Checks what single types cannot express: ranges, divisibility and choices that exclude each other."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from opdkit.config.near import refusal
from opdkit.config.task_checks import check_tasks
from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.training.experiment import Experiment

_LARGEST_SEED = 2**32 - 1
_AT_LEAST_ONE = (
    "steps",
    "batch.prompts",
    "batch.rollouts_per_prompt",
    "batch.mini_batch",
    "batch.micro_batch",
    "batch.micro_batch_tokens",
    "batch.epochs",
    "shard_replicas",
    "keep_checkpoints",
    "early_stop.patience",
    "max_bad_steps",
    "batch_size",
    "max_prompt_tokens",
)
_AT_LEAST_ZERO = (
    "eval_every",
    "checkpoint_every",
    "log_samples",
    "vocabulary_metrics_every",
    "diagnostics_every",
    "probe_every",
    "early_stop.min_delta",
    "max_staleness",
)


def check_values(resolved: Mapping[str, Any]) -> None:
    """Checks root scalars of `train` and `eval`, individually and together. Raises UserError."""
    for least, keys in ((1, _AT_LEAST_ONE), (0, _AT_LEAST_ZERO)):
        for key in keys:
            value = _at(resolved, key)
            if value is not None and value < least:
                raise UserError(f"{key}={value}: must be at least {least}")
    if not 0 <= resolved["seed"] <= _LARGEST_SEED:
        raise UserError(f"seed={resolved['seed']}: must be between 0 and {_LARGEST_SEED}")
    if resolved["precision"] not in ("float32", "bfloat16"):
        wrong = str(resolved["precision"])
        raise UserError(refusal(f"precision={wrong}", "no such precision", wrong, ("float32", "bfloat16")))
    if (shard := str(resolved.get("shard", "none"))) not in ("none", "fsdp2"):
        raise UserError(refusal(f"shard={shard}", "no such way", shard, ("none", "fsdp2")))
    if not resolved.get("cache_gib", 1.0) > 0:
        raise UserError(f"cache_gib={resolved['cache_gib']}: must be above 0")
    if "temperature" in resolved:
        _check_temperature(resolved["temperature"])
    if "batch" in resolved:
        _check_batch(resolved["batch"])
    if resolved.get("gradient_variance") is not None:
        _check_pattern(resolved["gradient_variance"])


def check_folder_keys(resolved: Mapping[str, Any]) -> None:
    """Checks `run_dir` and `resume` of the roots that create a folder. Raises UserError."""
    if "run_dir" not in resolved:
        return
    resume = resolved["resume"]
    if resume not in (True, False, "auto"):
        raise UserError(refusal(f"resume={resume}", "no such choice", str(resume), ("true", "false", "auto")))
    if resume and not resolved["run_dir"]:
        raise UserError(f"resume={str(resume).lower()}: which run? give run_dir=... as well")
    if resolved["run_dir"] is not None and not str(resolved["run_dir"]).strip():
        raise UserError("run_dir='': must name a folder; leave it out for a new one under paths.runs")


def _at(resolved: Mapping[str, Any], key: str) -> Any:
    node: Any = resolved
    for part in key.split("."):
        node = cast(Mapping[str, Any], node).get(part) if isinstance(node, Mapping) else None
    return node


def _check_temperature(value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UserError(
            f"temperature={value}: must be a finite number above 0 (sampler=greedy takes the most likely token)"
        )


def _check_batch(batch: Mapping[str, int]) -> None:
    rollouts = batch["prompts"] * batch["rollouts_per_prompt"]
    mini = batch["mini_batch"]
    if rollouts % mini:
        raise UserError(
            f"batch.mini_batch={mini}: must divide the step's {rollouts} rollouts "
            f"(batch.prompts={batch['prompts']} x batch.rollouts_per_prompt={batch['rollouts_per_prompt']})"
        )


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise UserError(f"gradient_variance={pattern}: not a regular expression ({error})") from error


def check_staleness(experiment: Experiment) -> None:
    """Checks what is incompatible with collecting steps under stale weights. Raises UserError."""
    asked = f"max_staleness={experiment.max_staleness}"
    if experiment.max_staleness == 0:
        return
    if experiment.cadence.probe_every:
        raise UserError(f"probe_every={experiment.cadence.probe_every}: the probe needs max_staleness=0, not {asked}")
    for task in experiment.tasks().values():
        for term in task.terms:
            if term.objective.needs.single_update:
                raise UserError(
                    f"{asked}: {type(term.objective).__name__} as set has no importance ratio to correct by; allowed: "
                    "max_staleness=0, objective/surrogate=ratio, or objective=topk"
                )
            if term.teacher is not None and term.teacher.capabilities.changes:
                raise UserError(f"{asked}: teacher={term.teacher.path} changes with the student; allowed: 0")


def check_watched(experiment: Experiment) -> None:
    """Checks the metrics of early_stop and keep_best as far as known before step 1. Raises UserError."""
    from opdkit.training.watch import EVALUATED

    names = [f"eval/{task.benchmark.name}/{kind}" for task in experiment.tasks().values() for kind in EVALUATED]
    for key, settings in (("early_stop", experiment.early_stop), ("keep_best", experiment.keep_best)):
        if settings.mode not in ("max", "min"):
            raise UserError(refusal(f"{key}.mode={settings.mode}", "no such mode", settings.mode, ("max", "min")))
        metric = settings.metric
        if metric is None or not metric.startswith("eval/"):
            continue
        if metric not in names:
            raise UserError(refusal(f"{key}.metric={metric}", "no such metric of this run", metric, names))
        if not experiment.cadence.eval_every:
            raise UserError(f"{key}.metric={metric}: eval_every=0 evaluates only at the end; set eval_every=...")


def check_quantized(experiment: Experiment) -> None:
    """Checks what is incompatible with a 4-bit base model. Raises UserError."""
    if experiment.adapter is None or experiment.adapter.quantize == "none":
        return
    elsewhere = any(task.rollout.in_process() != task.rollout for task in experiment.tasks().values())
    for key, wrong in ((f"shard={experiment.shard}", experiment.shard != "none"), ("rollout=vllm", elsewhere)):
        if wrong:
            raise UserError(f"adapter.quantize={experiment.adapter.quantize}: not supported with {key}; allowed: none")


def check_shard(experiment: Experiment) -> None:
    """Checks what is incompatible with sharded weights. Raises UserError."""
    if experiment.shard == "none":
        if experiment.shard_replicas != 1:
            asked = f"shard_replicas={experiment.shard_replicas}"
            raise UserError(f"{asked}: with shard=none each process holds the full model; allowed: 1")
        if experiment.shard_offload:
            raise UserError("shard_offload=true: with shard=none there are no shards to offload; allowed: shard=fsdp2")
        return
    refused = {
        f"max_staleness={experiment.max_staleness}": "steps are generated ahead by an unsharded copy of the weights"
        if experiment.max_staleness
        else "",
        "task.teachers=swap": "teachers are sharded instead" if experiment.offloads_teachers else "",
        "teacher.cpu_offload=true": "its layers are sharded instead"
        if _somewhere(experiment.resolved, "cpu_offload")
        else "",
    }
    for key, why in refused.items():
        if why:
            raise UserError(
                f"shard={experiment.shard}: not supported with {key} ({why}); allowed: shard=none, or without"
            )


def _somewhere(node: Any, key: str) -> bool:
    """Whether the key is true at any depth."""
    if isinstance(node, Mapping):
        inside = cast(Mapping[str, Any], node)
        return inside.get(key) is True or any(_somewhere(value, key) for value in inside.values())
    return False


def check_together(experiment: Experiment) -> None:
    """Checks combinations of individually valid choices. Raises UserError."""
    check_tasks(experiment)
    check_staleness(experiment)
    check_watched(experiment)
    check_shard(experiment)
    check_quantized(experiment)
    updates = experiment.batch.updates
    objectives = [term.objective for task in experiment.tasks().values() for term in task.terms]
    for objective in objectives if updates > 1 else ():
        if objective.needs.single_update:
            raise UserError(
                f"batch.epochs={experiment.batch.epochs}: {updates} updates on one batch of rollouts, and "
                f"{type(objective).__name__} as set has no importance ratio; allowed: one update (batch.epochs=1, "
                f"batch.mini_batch={experiment.batch.rollouts}), objective/surrogate=ratio, or objective=topk"
            )
