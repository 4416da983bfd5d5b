"""Defines callbacks: methods of the caller's that a run calls at its events."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Callback:
    """Called by a run at its events; every method does nothing until a subclass overrides it.

    Callbacks run in the run's process between two steps. An error raised in one ends the run.
    """

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Step `step` (from 1) is done and logged; `metrics` as in metrics.jsonl."""

    def on_evaluation(self, step: int, label: str, summary: Mapping[str, Any]) -> None:
        """A benchmark was answered.

        Args:
            step: steps that were done.
            label: `before`, `teacher`, `after`, or `step-NNNNNN` for an evaluation in between.
            summary: of the benchmark; with several tasks the mean `pass@1`, and each task's summary under `tasks`.
        """

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """A whole checkpoint after `step` steps lies in `folder`, a Hugging Face folder with the optimiser beside."""
