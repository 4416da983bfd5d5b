"""Text games behind one small interface, each game in its own process.

The names below load on first use: game processes import this package and must not load torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdkit.environments.alfworld import ALFWorld
    from opdkit.environments.base import Crash, Environment, EnvironmentSource, Episode, Observation, StepResult
    from opdkit.environments.custom import Custom
    from opdkit.environments.openenv import OpenEnv
    from opdkit.environments.pool import EnvironmentPool
    from opdkit.environments.scienceworld import ScienceWorld
    from opdkit.environments.textworld_express import TextWorldExpress
    from opdkit.environments.verifiers import Verifiers

_HOMES = {
    **dict.fromkeys(("Crash", "Environment", "EnvironmentSource", "Episode", "Observation", "StepResult"), "base"),
    "ALFWorld": "alfworld",
    "Custom": "custom",
    "EnvironmentPool": "pool",
    "OpenEnv": "openenv",
    "ScienceWorld": "scienceworld",
    "TextWorldExpress": "textworld_express",
    "Verifiers": "verifiers",
}

__all__ = [
    "ALFWorld",
    "Crash",
    "Custom",
    "Environment",
    "EnvironmentPool",
    "EnvironmentSource",
    "Episode",
    "Observation",
    "OpenEnv",
    "ScienceWorld",
    "StepResult",
    "TextWorldExpress",
    "Verifiers",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
