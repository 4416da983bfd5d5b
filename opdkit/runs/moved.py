"""Migrates configurations of earlier versions, so that their runs can be resumed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TARGETS = {
    "opdkit.rollout.": "opdkit.generation.",
    "opdkit.tasks.environments.": "opdkit.environments.",
}
"""Former prefix of a `_target_` -> current prefix."""

_SINCE: dict[str, tuple[object, ...]] = {
    "model.template_kwargs": ({"enable_thinking": None}, {}),
    "teacher.template_kwargs": ({"enable_thinking": None}, {}),
    "teacher.cpu_offload": (False,),
    "reward": ({"_target_": "opdkit.rewards.TaskReward"},),
    "text": (None,),
    "adapter": ({}, None),
    "batch.micro_batch_tokens": (None,),
    "batch.packing": (False,),
    "adapter.quantize": ("none",),
    "rollout.keep_cache": (True, False),
    "deterministic": (False,),
    "rollout.adapters": ("merged",),
    "rollout.sleep": (False,),
    "max_staleness": (0,),
    "shard": ("none",),
    "shard_replicas": (1,),
    "shard_offload": (False,),
    "task.columns.solution": ("answer",),
    "objective.clip_range_high": (None,),
    "benchmark.stop": ([],),
    **{f"{place}.shots": (0,) for place in ("task", "benchmark.source")},
    **{f"{place}.shots_from": (None,) for place in ("task", "benchmark.source")},
    "benchmark.source.columns.solution": ("answer", "solution"),
    "objective.reward_form": ("raw",),
}
"""Key added later -> its values that are equivalent to the earlier behaviour."""


def as_written_today(before: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """`before` with current key names. Keys added later get the values of `ours` if the computation is unchanged.

    Args:
        before: the configuration in the run folder.
        ours: the requested configuration.
    """
    config: dict[str, Any] = _renamed(dict(before))
    for key, neutral in _SINCE.items():
        *path, name = key.split(".")
        old, new = _at(config, path), _at(ours, path)
        if old is not None and new is not None and name not in old and new.get(name) in neutral:
            old[name] = new.get(name)
    for group in ("model", "teacher"):
        old, new = _at(config, [group]), _at(ours, [group])
        # `auto` selects sdpa if the architecture supports it; otherwise sdpa could not have been loaded.
        if old and new and (old.get("attention"), new.get("attention")) == ("sdpa", "auto"):
            old["attention"] = "auto"
    _method(config, ours)
    return config


def _method(config: dict[str, Any], ours: Mapping[str, Any]) -> None:
    """`student_share` of the root became `method=gkd student_share=`."""
    if "method" in config or "method" not in ours:
        return
    share = config.pop("student_share", 1.0)
    new = ours["method"].get("share")
    if (share == 1.0 and new is None and list(ours["method"]["terms"]) == ["student"]) or share == new:
        config["method"] = ours["method"]
        if "student_share" in ours:
            config["student_share"] = ours["student_share"]
    else:
        config["student_share"] = share


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner) for inner in value]
    if isinstance(value, str):
        for old, new in _TARGETS.items():
            if value.startswith(old):
                return new + value.removeprefix(old)
    return value


def _at(config: Mapping[str, Any], path: list[str]) -> Any:
    node: Any = config
    for name in path:
        node = node.get(name) if isinstance(node, Mapping) else None
    return node
