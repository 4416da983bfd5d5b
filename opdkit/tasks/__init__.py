"""Tasks: sources of problems, and how their answers are graded.

The names below load on first use: the grading worker is a module of this package and must start without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opdkit.tasks.base import FromFile, ProblemSource, Telling
    from opdkit.tasks.code import Code
    from opdkit.tasks.dataset import Dataset
    from opdkit.tasks.instructed import Instructed
    from opdkit.tasks.multi import MultiTask, TaskPart
    from opdkit.tasks.multiple_choice import MultipleChoice
    from opdkit.tasks.procedural import ReasoningGym
    from opdkit.tasks.records import Records

__all__ = [
    "Code",
    "Dataset",
    "FromFile",
    "Instructed",
    "MultiTask",
    "MultipleChoice",
    "ProblemSource",
    "ReasoningGym",
    "Records",
    "TaskPart",
    "Telling",
]

_HOMES = {
    "Code": "code",
    "Dataset": "dataset",
    "FromFile": "base",
    "Instructed": "instructed",
    "MultiTask": "multi",
    "MultipleChoice": "multiple_choice",
    "ProblemSource": "base",
    "ReasoningGym": "procedural",
    "Records": "records",
    "TaskPart": "multi",
    "Telling": "base",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
