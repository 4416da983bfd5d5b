"""User callbacks for the events of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Callback:
    """Receives the events of a run; all methods do nothing by default.

    Callbacks run in the run's process between steps. An error raised in one ends the run.
    """

    def on_step(self, step: int, metrics: Mapping[str, float]) -> None:
        """Step `step` (from 1) is done and logged; `metrics` as in metrics.jsonl."""

    def on_evaluation(self, step: int, label: str, summary: Mapping[str, Any]) -> None:
        """A benchmark evaluation is complete.

        Args:
            step: the number of steps done.
            label: `before`, `teacher`, `after`, or `step-NNNNNN` for an evaluation in between.
            summary: the benchmark's summary; with several tasks the mean `pass@1`, and each task's under `tasks`.
        """

    def on_checkpoint(self, step: int, folder: Path) -> None:
        """A checkpoint after `step` steps is complete in `folder`, a Hugging Face folder with optimiser state."""
