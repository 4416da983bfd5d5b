"""Checks settings that studies share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opdkit.errors import UserError

_LARGEST_SEED = 2**32 - 1


def check_gammas(gammas: Sequence[float]) -> None:
    """At least one, each a number between 0 and 1, none twice. Raises UserError."""
    _check_list("gammas", gammas)
    for gamma in gammas:
        if not (math.isfinite(gamma) and 0.0 <= gamma <= 1.0):
            raise UserError(f"study.gammas={gamma}: each must be between 0 and 1")


def check_seeds(seeds: Sequence[int]) -> None:
    """At least one, each between 0 and 2^32 - 1, none twice. Raises UserError."""
    _check_list("seeds", seeds)
    for seed in seeds:
        if not 0 <= seed <= _LARGEST_SEED:
            raise UserError(f"study.seeds={seed}: each must be between 0 and {_LARGEST_SEED}")


def check_increasing(name: str, values: Sequence[int]) -> None:
    """At least one, whole numbers from 1 that grow. Raises UserError."""
    _check_list(name, values)
    if any(b <= a for a, b in zip([0, *values], values, strict=False)):
        raise UserError(f"study.{name}={list(values)}: must be whole numbers from 1 that grow")


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raises UserError where a setting is out of range."""
    if not holds:
        raise UserError(f"study.{name}={value}: must be {allowed}")


def _check_list(name: str, values: Sequence[float]) -> None:
    if not values:
        raise UserError(f"study.{name}=[]: must hold at least one value")
    if len(set(values)) < len(values):
        raise UserError(f"study.{name}={list(values)}: holds a value twice")
