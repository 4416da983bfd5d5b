"""Checks settings shared by studies."""

from __future__ import annotations

import math
from collections.abc import Sequence

from opdkit.errors import UserError

_LARGEST_SEED = 2**32 - 1


def check_gammas(gammas: Sequence[float]) -> None:
    """At least one, each between 0 and 1, without duplicates. Raises UserError."""
    _check_list("gammas", gammas)
    for gamma in gammas:
        if not (math.isfinite(gamma) and 0.0 <= gamma <= 1.0):
            raise UserError(f"study.gammas={gamma}: each must be between 0 and 1")


def check_seeds(seeds: Sequence[int]) -> None:
    """At least one, each between 0 and 2^32 - 1, without duplicates. Raises UserError."""
    _check_list("seeds", seeds)
    for seed in seeds:
        if not 0 <= seed <= _LARGEST_SEED:
            raise UserError(f"study.seeds={seed}: each must be between 0 and {_LARGEST_SEED}")


def check_increasing(name: str, values: Sequence[int]) -> None:
    """At least one, increasing positive integers. Raises UserError."""
    _check_list(name, values)
    if any(b <= a for a, b in zip([0, *values], values, strict=False)):
        raise UserError(f"study.{name}={list(values)}: must be increasing positive integers")


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raises UserError if a setting is out of range."""
    if not holds:
        raise UserError(f"study.{name}={value}: must be {allowed}")


def _check_list(name: str, values: Sequence[float]) -> None:
    if not values:
        raise UserError(f"study.{name}=[]: must contain at least one value")
    if len(set(values)) < len(values):
        raise UserError(f"study.{name}={list(values)}: contains a value twice")
