"""What is run: the objects that `config.build` made and the numbers around them. Plain Python, no Hydra."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from opdkit.data.loss import Aggregation, Objective

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Batch:
    """How a step's rollouts are made and used. `mini_batch` and `micro_batch` count rollouts.

    A step samples `prompts * rollouts_per_prompt` rollouts, goes over them `epochs` times, updates once a
    mini-batch, and holds one micro-batch in memory at a time.
    """

    prompts: int
    rollouts_per_prompt: int
    mini_batch: int
    micro_batch: int
    epochs: int

    @property
    def rollouts(self) -> int:
        """Rollouts of one step."""
        return self.prompts * self.rollouts_per_prompt

    @property
    def mini_batches(self) -> int:
        """Into how many parts a step's rollouts are divided."""
        return self.rollouts // self.mini_batch

    @property
    def updates(self) -> int:
        """Optimiser updates made on one batch of rollouts."""
        return self.epochs * self.mini_batches

    def share(self, prompts: int) -> Batch:
        """The part of each step, and of each of its mini-batches, that belongs to `prompts` of its prompts."""
        rollouts = prompts * self.rollouts_per_prompt
        return replace(self, prompts=prompts, mini_batch=max(1, rollouts // self.mini_batches))


@dataclass(frozen=True)
class Cadence:
    """How often things happen beside the step, in steps; 0 is never (evaluation: only before and after)."""

    eval_every: int
    checkpoint_every: int
    keep_checkpoints: int
    log_samples: int
    vocabulary_metrics_every: int
    diagnostics_every: int
    probe_every: int

    def observes(self, step: int) -> bool:
        """Whether step `step` (from 0) looks at the whole vocabulary of both models."""
        return _due(step, self.vocabulary_metrics_every) or self.diagnoses(step)

    def diagnoses(self, step: int) -> bool:
        """Whether step `step` (from 0) is looked at by the diagnostics of the failure modes."""
        return _due(step, self.diagnostics_every)

    def probes(self, step: int) -> bool:
        """Whether the gradient is probed after step `step` (from 0)."""
        return _due(step, self.probe_every)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


@dataclass(frozen=True)
class Experiment:
    """One training run. The groups' objects are light: nothing is loaded before `training` asks for it.

    `loggers` maps a name to a logger's description (see `opdkit.loggers`), `diagnostics` a name to a diagnostic of the
    failure modes (see `opdkit.diagnostics`); `probe` are the settings of the gradient's probe; `student_share` is the
    share of steps that the student writes itself; `gradient_variance` is a
    regular expression of the parameter names whose gradient variance is measured, None measures none; `resolved` is
    the configuration as plain values, for config.yaml.
    """

    objective: Objective
    aggregation: Aggregation
    sampler: Any
    masking: Any
    model: Any
    teacher: Any
    rollout: Any
    task: Any
    benchmark: Any
    optimizer: Any
    probe: Any
    loggers: Mapping[str, Any]
    diagnostics: Mapping[str, Any]
    batch: Batch
    cadence: Cadence
    steps: int
    seed: int
    student_share: float
    temperature: float
    precision: Precision
    gradient_variance: str | None
    max_bad_steps: int
    resume: bool
    resolved: Mapping[str, Any]

    def by_task(self) -> dict[str, Experiment]:
        """The run seen by each of its tasks, under the tasks' names; the run itself, under "", where it has only one.

        A task of several brings its own teacher, lengths and benchmark, and takes the run's where it names none.
        """
        parts: Mapping[str, Any] | None = getattr(self.task, "parts", None)
        if parts is None:
            return {"": self}
        prompts = self.task.split(self.batch.prompts) if self.task.schedule == "mixed" else {}
        return {
            name: replace(
                self,
                task=part.source,
                teacher=part.teacher or self.teacher,
                rollout=part.rollout or self.rollout,
                benchmark=part.benchmark or self.benchmark,
                batch=self.batch.share(prompts[name]) if prompts else self.batch,
            )
            for name, part in parts.items()
        }


@dataclass(frozen=True)
class Evaluation:
    """One model on one benchmark. `batch_size` counts rollouts, fewer where their keys and values would take more
    than `cache_gib`; longer prompts than `max_prompt_tokens` are dropped and counted; `resume` goes on with the
    answers that the folder already holds; `show` names one response that is printed at the end (see
    `reporting.episodes.SHOWN`)."""

    model: Any
    benchmark: Any
    seed: int
    batch_size: int
    cache_gib: float
    max_prompt_tokens: int
    precision: Precision
    resume: bool
    show: str | None
    resolved: Mapping[str, Any]
