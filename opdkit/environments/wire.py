"""Converts observations and results to JSON and back, and validates every value that a game sends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from opdkit.environments.base import Observation, StepResult


def encode_observation(observation: Observation) -> dict[str, Any]:
    """An observation as plain values."""
    return {"text": observation.text, "admissible": list(observation.admissible)}


def encode_result(result: StepResult) -> dict[str, Any]:
    """A step's result as plain values."""
    names = ("reward", "done", "score", "success", "valid")
    return {"observation": encode_observation(result.observation), **{name: getattr(result, name) for name in names}}


def decode_observation(value: Any) -> Observation:
    """The observation that `encode_observation` wrote. Raises ValueError for anything else."""
    fields = _mapping(value, "an observation")
    return Observation(_text(fields.get("text"), "text"), _texts(fields.get("admissible"), "admissible"))


def decode_result(value: Any) -> StepResult:
    """The result that `encode_result` wrote. Raises ValueError for anything else, including a score outside
    [0, 1] and a success that does not end the episode."""
    fields = _mapping(value, "a result")
    result = StepResult(
        observation=decode_observation(fields.get("observation")),
        reward=_number(fields.get("reward"), "reward"),
        done=_flag(fields.get("done"), "done"),
        score=_number(fields.get("score"), "score"),
        success=_flag(fields.get("success"), "success"),
        valid=_flag(fields.get("valid"), "valid"),
    )
    if not 0.0 <= result.score <= 1.0:
        raise ValueError(f"score={result.score} is not in [0, 1]")
    if result.success and not result.done:
        raise ValueError("success without an end")
    return result


def decode_gold(value: Any) -> tuple[str, ...] | None:
    """A gold path, None if the game has none. Raises ValueError for anything else."""
    return None if value is None else _texts(value, "gold")


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} was awaited and {type(value).__name__} came")
    return value


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, not a text")
    return value


def _texts(value: Any, name: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, not a list")
    return tuple(_text(item, name) for item in value)


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {str(value)[:40]}, not a finite number")
    return float(value)


def _flag(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name} is {type(value).__name__}, not true or false")
    return value
