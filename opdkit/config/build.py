"""Builds objects from a composed configuration; the only caller of Hydra's `instantiate`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from opdkit.config.binding import bind
from opdkit.config.checks import check_folder_keys, check_together, check_values
from opdkit.config.compose import resolve
from opdkit.config.near import no_value
from opdkit.config.overrides import parse
from opdkit.config.schema import EVAL_GROUPS, OPTIONAL_GROUPS, SCHEMAS, SERVE_GROUPS, STUDY_GROUPS, TRAIN_GROUPS
from opdkit.config.shorthands import check_shorthands
from opdkit.errors import UserError

if TYPE_CHECKING:
    from opdkit.data.loss import Aggregation, Objective
    from opdkit.models import ModelSpec
    from opdkit.serving.settings import Service
    from opdkit.training.experiment import Evaluation, Experiment

_build = cast(Callable[..., Any], instantiate)


@dataclass(frozen=True)
class Origin:
    """Where a configuration comes from: the typed overrides and the chosen option of each group."""

    overrides: Sequence[str]
    choices: Mapping[str, str]
    folders: Sequence[Path]


def build_experiment(config: DictConfig, origin: Origin) -> Experiment:
    """Checks everything that needs no weights and builds the experiment. Raises UserError."""
    from opdkit.training.experiment import Batch, Cadence, Experiment  # imports torch, which `--cfg job` does not need
    from opdkit.training.watch import EarlyStop, KeepBest

    resolved = _checked("train", TRAIN_GROUPS, config, origin)
    check_values(resolved)
    several = {group: _several(group, resolved[group]) for group in ("logger", "diagnostics")}
    cadence = {field.name: resolved[field.name] for field in fields(Cadence)}
    plain = (
        "steps",
        "seed",
        "temperature",
        "precision",
        "deterministic",
        "gradient_variance",
        "max_bad_steps",
        "max_staleness",
        "push_to_hub",
        "shard",
        "shard_replicas",
        "shard_offload",
        "resume",
    )
    groups = {name: _object(name, resolved[name]) if resolved[name] else None for name in TRAIN_GROUPS}
    experiment = Experiment(
        **{("optimizer" if name == "optim" else name): built for name, built in groups.items()},
        loggers=several["logger"],
        diagnostics=several["diagnostics"],
        batch=Batch(**resolved["batch"]),
        cadence=Cadence(**cadence),
        early_stop=EarlyStop(**resolved["early_stop"]),
        keep_best=KeepBest(**resolved["keep_best"]),
        **{name: resolved[name] for name in plain},
        resolved=resolved,
    )
    check_together(experiment)
    return experiment


def _several(group: str, nodes: Mapping[str, Any]) -> dict[str, Any]:
    """The objects of a group of named objects; those set to null are left out."""
    kept = {name: node for name, node in nodes.items() if node is not None}
    for name, node in kept.items():
        bind(f"{group}.{name}", node)
    return {name: _object(f"{group}.{name}", node) for name, node in kept.items()}


def build_evaluation(config: DictConfig, origin: Origin) -> Evaluation:
    """`build_experiment` for `opdkit eval`. Raises UserError."""
    from opdkit.evaluation import EngineLimits
    from opdkit.training.experiment import Evaluation

    resolved = _checked("eval", EVAL_GROUPS, config, origin)
    check_values(resolved)
    limits = EngineLimits(resolved["max_prompt_tokens"], resolved["batch_size"], resolved["cache_gib"])
    plain = ("seed", "precision", "show")
    return Evaluation(
        limits=limits,
        resume=bool(resolved["resume"]),
        **{name: _object(name, resolved[name]) for name in EVAL_GROUPS},
        **{name: resolved[name] for name in plain},
        resolved=resolved,
    )


def build_loss(config: DictConfig, origin: Origin) -> tuple[Objective, Aggregation]:
    """Only the objective and aggregation of a `train` configuration. Raises UserError."""
    objective, aggregation = _some(("objective", "aggregation"), config, origin)
    return objective, aggregation


def build_preview(config: DictConfig, origin: Origin) -> tuple[Any, ModelSpec, int]:
    """Task, model spec and prompt limit of a `train` configuration. Raises UserError."""
    task, model, rollout = _some(("task", "model", "rollout"), config, origin)
    return task, model, rollout.max_prompt_tokens


@dataclass(frozen=True)
class Spoken:
    """A model with its generation settings: `rollout` opens the engine, `sampling` is passed to it."""

    rollout: Any
    sampling: Any


def build_chat(config: DictConfig, origin: Origin) -> tuple[ModelSpec, Spoken, int]:
    """Model, generation settings and seed of a `train` configuration. Raises UserError."""
    from opdkit.generation import Sampling

    model, sampler, rollout = _some(("model", "sampler", "rollout"), config, origin)
    sampling = Sampling(float(config.temperature), sampler, log_prob=False, entropy=False)
    return model, Spoken(rollout, sampling), int(config.seed)


def _some(groups: Sequence[str], config: DictConfig, origin: Origin) -> list[Any]:
    """Builds the objects of some groups and ignores the others."""
    check_shorthands(config, parse(origin.overrides), dict(origin.choices), origin.folders)
    resolved = resolve(config)
    for name in groups:
        bind(name, resolved[name])
    return [_object(name, resolved[name]) for name in groups]


def build_study(config: DictConfig, origin: Origin) -> tuple[Any, dict[str, Any]]:
    """The study that `opdkit study` runs and the configuration as plain values. Raises UserError."""
    resolved = _checked("study", STUDY_GROUPS, config, origin)
    return _object("study", resolved["study"]), resolved


def build_service(config: DictConfig, origin: Origin) -> Service:
    """The model that `opdkit serve` serves and its settings. Raises UserError."""
    from opdkit.serving.settings import Service

    resolved = _checked("serve", SERVE_GROUPS, config, origin)
    if not resolved["teacher"]:
        raise UserError("teacher=none: no model to serve; choose one: `opdkit ls teacher`")
    plain = {name: value for name, value in resolved.items() if name != "teacher"}
    return Service(_object("teacher", resolved["teacher"]), **plain, resolved=resolved)


def _checked(root: str, groups: Sequence[str], config: DictConfig, origin: Origin) -> dict[str, Any]:
    check_shorthands(config, parse(origin.overrides), dict(origin.choices), origin.folders)
    resolved = resolve(config)
    known = [field.name for field in fields(SCHEMAS[root])]
    for key in resolved:
        if key not in known:
            raise UserError(f"{key}: no such key at the root of {root}.yaml")
    for name in groups:
        if resolved[name] or name not in OPTIONAL_GROUPS:
            bind(name, resolved[name])
    _refuse_missing("", {key: value for key, value in resolved.items() if key not in groups})
    check_folder_keys(resolved)
    return resolved


def _refuse_missing(prefix: str, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        if value == "???":
            raise UserError(no_value(f"{prefix}{name}"))
        if isinstance(value, Mapping):
            _refuse_missing(f"{prefix}{name}.", cast(Mapping[str, Any], value))


def _object(key: str, node: Mapping[str, Any]) -> Any:
    try:
        return _build(node, _convert_="all")
    except InstantiationException as error:
        if error.__cause__ is None:  # Hydra's own error about a _target_ that it does not call
            lines = [line.strip() for line in str(error).splitlines() if not line.startswith(("full_key", "set env"))]
            raise UserError(f"{key}._target_: {' '.join(lines)}") from error
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, ValueError):
            cause = cause.__cause__
        if cause is None:  # a defect
            raise
        kind = type(cause) if isinstance(cause, UserError) else UserError
        raise kind(_placed(key, node, error, " ".join(str(cause).split()))) from error


def _placed(key: str, node: Mapping[str, Any], error: InstantiationException, text: str) -> str:
    """Replaces the relative key at the start of an error message by its full path."""
    if text.split(" ")[0].startswith(key.split(".")[0]):
        return text
    inner = re.search(r"^full_key: (\S+)$", str(error), re.MULTILINE)
    path = inner.group(1).split(".") if inner else []
    for name in path:
        node = node[name]
    word = re.match(r"[A-Za-z_]\w*", text)
    place = ".".join([key, *path])
    return f"{place}.{text}" if word and word.group() in node else f"{place}: {text}"
