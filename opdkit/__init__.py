"""opdkit: on-policy distillation of language models, as experiments.

`opdkit.train`, `opdkit.evaluate` and `opdkit.report` do what the commands of those names do; `opdkit.load_objective`
gives a loss function on your own logits. Names are imported on first use, so that `import opdkit` is
cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdkit.api.commands import evaluate, report, train
    from opdkit.api.logits import LogitObjective, load_objective
    from opdkit.api.run import EvaluationRun, Run
    from opdkit.errors import RunError, UserError
    from opdkit.training.callbacks import Callback

__version__ = "0.1.0"

__all__ = [
    "Callback",
    "EvaluationRun",
    "LogitObjective",
    "Run",
    "RunError",
    "UserError",
    "__version__",
    "evaluate",
    "load_objective",
    "report",
    "train",
]

_MODULES = {
    "opdkit.api.commands": ("evaluate", "report", "train"),
    "opdkit.api.logits": ("LogitObjective", "load_objective"),
    "opdkit.api.run": ("EvaluationRun", "Run"),
    "opdkit.errors": ("RunError", "UserError"),
    "opdkit.training.callbacks": ("Callback",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'opdkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
