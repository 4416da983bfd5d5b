"""An experiment: the objects and settings built by `config.build`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from opdkit.data.loss import Aggregation, Objective
from opdkit.data.micro_batches import MicroBatch
from opdkit.diagnostics import Diagnostic, ProbeSettings
from opdkit.environments import EnvironmentSource
from opdkit.evaluation import Benchmark, EngineLimits, EpisodeBenchmark
from opdkit.generation import EngineSpec, Sampling
from opdkit.loggers import LoggerSpec
from opdkit.masking import Masking
from opdkit.models import LoRA, ModelSpec
from opdkit.rewards import Reward
from opdkit.runs.card import CardFacts, CardTask
from opdkit.samplers import Sampler
from opdkit.tasks import MultiTask, ProblemSource, TaskPart
from opdkit.teachers import Teacher
from opdkit.training.collect import CollectSettings
from opdkit.training.loop_settings import LoopSettings
from opdkit.training.optimizer import AdamW
from opdkit.training.record_settings import RecordSettings
from opdkit.training.sources import StepSize
from opdkit.training.tasks import TaskSettings, task_seed, teacher_names
from opdkit.training.term import Method, RunChoices, bind_terms
from opdkit.training.watch import EarlyStop, KeepBest
from opdkit.training.writing import Writing

Precision = Literal["float32", "bfloat16"]
Shard = Literal["none", "fsdp2"]


@dataclass(frozen=True)
class Batch:
    """Batch sizes. `mini_batch` and `micro_batch` count rollouts.

    A step samples `prompts * rollouts_per_prompt` rollouts, makes `epochs` passes over them with one update per
    mini-batch, and computes one micro-batch at a time, of at most `micro_batch_tokens` tokens, packed into shared
    sequences with `packing` (see `MicroBatch`).
    """

    prompts: int
    rollouts_per_prompt: int
    mini_batch: int
    micro_batch: int
    epochs: int
    micro_batch_tokens: int | None = None
    packing: bool = False

    @property
    def rollouts(self) -> int:
        """Rollouts per step."""
        return self.prompts * self.rollouts_per_prompt

    @property
    def pass_size(self) -> MicroBatch:
        """The size of a micro-batch."""
        return MicroBatch(self.micro_batch, self.micro_batch_tokens, self.packing)

    @property
    def mini_batches(self) -> int:
        """Mini-batches per step."""
        return self.rollouts // self.mini_batch

    @property
    def updates(self) -> int:
        """Optimiser updates per rollout batch."""
        return self.epochs * self.mini_batches

    def of_task(self, prompts: int) -> Batch:
        """The batch sizes of a task that has `prompts` of the step's prompts."""
        rollouts = prompts * self.rollouts_per_prompt
        return replace(self, prompts=prompts, mini_batch=max(1, rollouts // self.mini_batches))


@dataclass(frozen=True)
class Cadence:
    """The intervals of periodic actions in steps; 0 for never (evaluation: only before and after training)."""

    eval_every: int
    checkpoint_every: int
    keep_checkpoints: int
    log_samples: int
    vocabulary_metrics_every: int
    diagnostics_every: int
    probe_every: int


@dataclass(frozen=True)
class Experiment:
    """The configuration of a training run. Nothing is loaded yet.

    Attributes:
        method: the terms of a step.
        objective: the default for terms that don't set one; likewise teacher, reward, masking and aggregation.
        adapter: the adapters to train instead of the student's weights, None to train the student itself.
        teacher: None for no teacher.
        loggers: name -> description of a logger (see `opdkit.loggers`).
        diagnostics: name -> diagnostic of failure modes (see `opdkit.diagnostics`).
        probe: settings of the gradient probe.
        max_staleness: age in steps of the weights that generate a step. 0: the current ones. From 1 on, a step is
            generated and scored during the updates of another.
        deterministic: whether a run on a GPU is bitwise reproducible.
        early_stop: when the run ends before its last step.
        keep_best: which step's student is kept.
        push_to_hub: the hub repository to upload the student to, None for none.
        shard: none: every rank holds all weights; fsdp2: every rank holds a shard of each weight.
        shard_replicas: the number of replicas of a sharded model.
        shard_offload: whether the shards of sharded models are kept in CPU memory.
        gradient_variance: regular expression of the parameters whose gradient variance is measured, None for none.
        resume: whether to resume the run; "auto" depends on the run folder and is resolved before the run starts.
        resolved: the configuration as plain values, for config.yaml.
    """

    method: Method
    objective: Objective
    aggregation: Aggregation
    reward: Reward
    sampler: Sampler
    masking: Masking
    model: ModelSpec
    adapter: LoRA | None
    teacher: Teacher | None
    rollout: EngineSpec
    task: ProblemSource | EnvironmentSource | MultiTask
    benchmark: Benchmark | EpisodeBenchmark
    optimizer: AdamW
    probe: ProbeSettings
    loggers: Mapping[str, LoggerSpec]
    diagnostics: Mapping[str, Diagnostic]
    batch: Batch
    cadence: Cadence
    early_stop: EarlyStop
    keep_best: KeepBest
    steps: int
    seed: int
    temperature: float
    precision: Precision
    deterministic: bool
    gradient_variance: str | None
    max_bad_steps: int
    max_staleness: int
    push_to_hub: str | None
    shard: Shard
    shard_replicas: int
    shard_offload: bool
    resume: bool | Literal["auto"]
    resolved: Mapping[str, Any]

    @property
    def offloads_teachers(self) -> bool:
        """Whether only one teacher at a time is in memory."""
        return isinstance(self.task, MultiTask) and self.task.teachers == "swap"

    @property
    def benchmark_names(self) -> str:
        """The benchmark names of all tasks."""
        return " and ".join(task.benchmark.name for task in self.tasks().values())

    def alternation(self) -> MultiTask | None:
        """The schedule of alternating tasks, None if every step has all tasks."""
        return self.task if isinstance(self.task, MultiTask) and self.task.schedule == "alternating" else None

    def tasks(self) -> dict[str, TaskSettings]:
        """The run's tasks by name; a single task has the name "".

        Each of several tasks may set its own teacher, lengths and benchmark; the run's are the defaults.
        Raises UserError for a missing or unsuitable teacher.
        """
        if not isinstance(self.task, MultiTask):
            return {"": self._task("", TaskPart(self.task), self.batch)}
        prompts = self.task.split(self.batch.prompts) if self.task.schedule == "mixed" else {}
        return {
            name: self._task(name, part, self.batch.of_task(prompts[name]) if prompts else self.batch)
            for name, part in self.task.parts.items()
        }

    def _task(self, name: str, part: TaskPart, batch: Batch) -> TaskSettings:
        teacher = part.teacher or self.teacher
        run = RunChoices(self.objective, teacher, self.reward, self.masking, self.aggregation, self.temperature)
        return TaskSettings(
            name=name,
            source=part.source,
            teacher=teacher,
            rollout=part.rollout or self.rollout,
            benchmark=part.benchmark or self.benchmark,
            size=StepSize(batch.prompts, batch.rollouts_per_prompt),
            terms=bind_terms(self.method, run),
            sampling=Sampling(self.temperature, self.sampler),
            seed=task_seed(name, self.seed),
            writing=Writing(self.method.length, self.method.prefix),
        )

    def collecting(self) -> CollectSettings:
        """The settings of collectors."""
        cadence = self.cadence
        every = (cadence.vocabulary_metrics_every, cadence.diagnostics_every)
        batch = self.batch
        return CollectSettings(
            self.seed, self.method.share, batch.updates, batch.mini_batches, batch.pass_size, *every,
            stale=self.max_staleness > 0,
        )  # fmt: skip

    def recording(self) -> RecordSettings:
        """The settings of recording and of the model card."""
        tasks = tuple(
            CardTask(name, task.source.name, teacher_names(task), task.benchmark.name)
            for name, task in self.tasks().items()
        )
        further = {"rollouts a step": self.batch.rollouts, "seed": self.seed, "precision": self.precision}
        card = CardFacts(self.model.path, tasks, further, self.steps, self.resolved)
        cadence = self.cadence
        return RecordSettings(
            self.steps, self.seed, cadence.log_samples, self.diagnostics, cadence.diagnostics_every, self.probe,
            cadence.probe_every, card,
        )  # fmt: skip

    def looping(self) -> LoopSettings:
        """The settings of the loop."""
        return LoopSettings(
            self.steps, self.seed, self.optimizer, self.batch.mini_batches, self.batch.epochs,
            self.cadence.eval_every, self.cadence.checkpoint_every, self.cadence.keep_checkpoints, self.max_bad_steps,
        )  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """The configuration of an evaluation of one model on one benchmark.

    Attributes:
        rollout: the engine that generates the answers.
        limits: the engine's limits, besides the benchmark's own maximum answer length.
        resume: whether to continue from the answers already in the folder.
        show: a response to print at the end (see `console.episodes.SHOWN`), None for none.
        resolved: the configuration as plain values.
    """

    model: ModelSpec
    benchmark: Benchmark | EpisodeBenchmark
    rollout: EngineSpec
    limits: EngineLimits
    seed: int
    precision: Precision
    resume: bool
    show: str | None
    resolved: Mapping[str, Any]
