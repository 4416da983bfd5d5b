"""Writes the model card of a trained student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opdkit import __version__


@dataclass(frozen=True)
class CardTask:
    """A task as shown on the card. name: empty for a single-task run."""

    name: str
    source: str
    teacher: str
    benchmark: str


@dataclass(frozen=True)
class CardFacts:
    """Facts about a run for its model card.

    Attributes:
        student: the initial model.
        tasks: the tasks with their teachers and benchmarks.
        settings: additional rows of the table, label -> value.
        steps: total steps of the run.
        resolved: the configuration as plain values.
    """

    student: str
    tasks: tuple[CardTask, ...]
    settings: Mapping[str, object]
    steps: int
    resolved: Mapping[str, Any]


def model_card(facts: CardFacts, step: int, results: Mapping[str, Any]) -> str:
    """The model card as markdown: base model, teacher, objective, progress and results.

    Args:
        facts: facts about the run.
        step: completed steps.
        results: label -> summary of a benchmark with `pass@1` and `ci95`, or of several under `tasks`.
    """
    resolved = facts.resolved
    lines = [
        "---",
        "library_name: transformers",
        "tags: [opdkit, on-policy-distillation]",
        "---",
        "# A student of on-policy distillation",
        "",
        f"Trained by opdkit {__version__} with on-policy distillation (arXiv 2603.25562).",
        "",
        "| | |",
        "|---|---|",
        f"| started from | {facts.student} |",
        *(f"| teacher{_of(task.name)} | {task.teacher} |" for task in facts.tasks),
        *(f"| {group} | `{_plain(resolved.get(group))}` |" for group in ("objective", "masking", "sampler")),
        f"| task | {', '.join(task.source for task in facts.tasks)} |",
        f"| steps | {step} of {facts.steps} |",
        *(f"| {label} | {value} |" for label, value in facts.settings.items()),
        "",
    ]
    for task in facts.tasks:
        lines += _results(task.benchmark, {label: _of_task(found, task.name) for label, found in results.items()})
    return "\n".join(lines) + "\n"


def _results(benchmark: str, results: Mapping[str, Any]) -> list[str]:
    if not results:
        return []
    lines = [f"On {benchmark}:", "", "| | pass@1 | 95 % interval |", "|---|---|---|"]
    for label, found in results.items():
        low, high = found["ci95"]
        lines.append(f"| {label} | {found['pass@1']:.3f} | {low:.3f} to {high:.3f} |")
    return [*lines, ""]


def _of_task(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    return found["tasks"][name] if name else found


def _of(name: str) -> str:
    return f" of {name}" if name else ""


def _plain(group: Any) -> str:
    """A config group on one line: the class name, then its values."""
    if not isinstance(group, Mapping):
        return str(group)
    name = str(group.get("_target_", "")).rsplit(".", 1)[-1]
    values = ", ".join(f"{key}={value}" for key, value in group.items() if key != "_target_")
    return f"{name}({values})"
