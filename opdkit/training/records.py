"""What a run keeps of itself: metrics, a few rollouts, evaluations; and what it shows meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opdkit.experiment import Experiment
from opdkit.loggers import MetricLogger
from opdkit.models import LanguageModel
from opdkit.reporting.terminal import Reporter
from opdkit.training.answers import ask
from opdkit.training.collect import Collected
from opdkit.training.folder import RunFolder
from opdkit.training.session import Session

# Characters of a response that samples.jsonl keeps.
_SAMPLE_LENGTH = 20_000


@dataclass(frozen=True)
class Records:
    """Joins the loop with the run folder, the loggers and the terminal."""

    experiment: Experiment
    session: Session
    folder: RunFolder
    reporter: Reporter
    loggers: MetricLogger

    def benchmark(self, model: LanguageModel, step: int, label: str) -> dict[str, Any]:
        """The benchmark's summary for `model`. `after` goes to evals/, anything else to a folder below it."""
        folder = self.folder.evals if label == "after" else self.folder.evals / label
        self.reporter.stage(f"evaluating {label} on {self.experiment.benchmark.name}")
        summary = ask(
            model, self.experiment.benchmark, self.experiment.rollout, self.session.accelerator,
            self.experiment.seed, folder, self.reporter,
        )  # fmt: skip
        if label in ("before", "after"):
            self.loggers.log(step, self._named(summary))
        return summary

    def evaluate(self, step: int) -> dict[str, float]:
        """Metrics of the student after `step` steps."""
        label = f"step-{step:06d}"
        return self._named(self.benchmark(self.session.student, step, label))

    def log(self, step: int, metrics: dict[str, float], collected: Collected) -> None:
        """Keep and show the metrics of one step, and a few of its rollouts."""
        self.loggers.log(step, metrics)
        every = self.experiment.cadence.log_samples
        if every:
            self.loggers.samples(step, self._samples(collected, every))
        self.reporter.step(step, self.experiment.steps, metrics)

    def _samples(self, collected: Collected, count: int) -> list[dict[str, Any]]:
        rollout = collected.batch.rollout
        return [
            {
                "problem": problem.identifier,
                "prompt": problem.messages[-1].content,
                "response": response[:_SAMPLE_LENGTH],
                "reference": problem.reference,
                "extracted": verdict.extracted,
                "reward": float(verdict.correct),
                "stop_reason": reason,
                "tokens": int(length),
            }
            for problem, response, verdict, reason, length in list(
                zip(
                    rollout.prompts.problems,
                    collected.responses,
                    collected.verdicts,
                    rollout.stop_reason,
                    rollout.mask.sum(dim=1).tolist(),
                    strict=True,
                )
            )[:count]
        ]

    def _named(self, summary: dict[str, Any]) -> dict[str, float]:
        prefix = f"eval/{self.experiment.benchmark.name}"
        return {
            f"{prefix}/{name}": float(summary[name])
            for name in ("pass@1", "truncated_fraction")
            if isinstance(summary.get(name), int | float)
        }
