"""The model card that a trained student carries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opdkit import __version__
from opdkit.experiment import Experiment


def model_card(experiment: Experiment, step: int, results: Mapping[str, Any]) -> str:
    """Markdown: what the student was, which teacher and objective trained it, how far, and what it scores.

    results: label -> summary of a benchmark with `pass@1` and `ci95`.
    """
    resolved = experiment.resolved
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
        f"| teacher | {getattr(experiment.teacher, 'path', experiment.teacher)} |",
        f"| objective | `{_plain(resolved.get('objective'))}` |",
        f"| masking | `{_plain(resolved.get('masking'))}` |",
        f"| sampler | `{_plain(resolved.get('sampler'))}` |",
        f"| task | {experiment.task.name} |",
        f"| steps | {step} of {experiment.steps} |",
        f"| rollouts a step | {experiment.batch.rollouts} |",
        f"| seed | {experiment.seed} |",
        f"| precision | {experiment.precision} |",
        "",
    ]
    if results:
        lines += [f"On {experiment.benchmark.name}:", "", "| | pass@1 | 95 % interval |", "|---|---|---|"]
        for label, found in results.items():
            low, high = found["ci95"]
            lines.append(f"| {label} | {found['pass@1']:.3f} | {low:.3f} to {high:.3f} |")
    return "\n".join(lines) + "\n"


def _plain(group: Any) -> str:
    """A config group in a line: the target's last name, then its values."""
    if not isinstance(group, Mapping):
        return str(group)
    name = str(group.get("_target_", "")).rsplit(".", 1)[-1]
    values = ", ".join(f"{key}={value}" for key, value in group.items() if key != "_target_")
    return f"{name}({values})"
