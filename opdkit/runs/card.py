"""The model card that a trained student carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opdkit import __version__
from opdkit.experiment import Experiment


def model_card(experiment: Experiment, step: int, results: Mapping[str, Any]) -> str:
    """Markdown: what the student was, which teacher and objective trained it, how far, and what it scores.

    results: label -> summary of a benchmark with `pass@1` and `ci95`, or of several under `tasks`.
    """
    resolved = experiment.resolved
    tasks = experiment.by_task()
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
        f"| started from | {experiment.model.path} |",
        *(f"| teacher{_of(name)} | {getattr(task.teacher, 'path', task.teacher)} |" for name, task in tasks.items()),
        f"| objective | `{_plain(resolved.get('objective'))}` |",
        f"| masking | `{_plain(resolved.get('masking'))}` |",
        f"| sampler | `{_plain(resolved.get('sampler'))}` |",
        f"| task | {', '.join(task.task.name for task in tasks.values())} |",
        f"| steps | {step} of {experiment.steps} |",
        f"| rollouts a step | {experiment.batch.rollouts} |",
        f"| seed | {experiment.seed} |",
        f"| precision | {experiment.precision} |",
        "",
    ]
    for name, task in tasks.items():
        lines += _results(task.benchmark.name, {label: _of_task(found, name) for label, found in results.items()})
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
    """A config group in a line: the target's last name, then its values."""
    if not isinstance(group, Mapping):
        return str(group)
    name = str(group.get("_target_", "")).rsplit(".", 1)[-1]
    values = ", ".join(f"{key}={value}" for key, value in group.items() if key != "_target_")
    return f"{name}({values})"
