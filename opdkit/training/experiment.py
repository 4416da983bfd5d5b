"""Defines an experiment: the objects that `config.build` made and the numbers around them."""

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
    """How a step's rollouts are made and used. `mini_batch` and `micro_batch` count rollouts.

    A step samples `prompts * rollouts_per_prompt` rollouts, goes over them `epochs` times, updates once a
    mini-batch, and holds one micro-batch in memory at a time, of `micro_batch_tokens` tokens at most, its rows one
    behind another with `packing` (see `MicroBatch`).
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
        """Rollouts of one step."""
        return self.prompts * self.rollouts_per_prompt

    @property
    def pass_size(self) -> MicroBatch:
        """What is in memory at a time."""
        return MicroBatch(self.micro_batch, self.micro_batch_tokens, self.packing)

    @property
    def mini_batches(self) -> int:
        """Into how many parts a step's rollouts are divided."""
        return self.rollouts // self.mini_batch

    @property
    def updates(self) -> int:
        """Optimiser updates made on one batch of rollouts."""
        return self.epochs * self.mini_batches

    def of_task(self, prompts: int) -> Batch:
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


@dataclass(frozen=True)
class Experiment:
    """One training run as it is configured. The objects are light: nothing is loaded yet.

    Attributes:
        method: the terms of a step.
        objective: of the terms that leave it open, as are teacher, reward, masking and aggregation.
        adapter: what is trained in the student's stead, None for the student itself.
        teacher: None for no teacher.
        loggers: name -> description of a logger (see `opdkit.loggers`).
        diagnostics: name -> diagnostic of the failure modes (see `opdkit.diagnostics`).
        probe: settings of the gradient's probe.
        max_staleness: how many steps old the weights are that write a step. 0: the newest; from 1 on, a step is written
            and scored while another is updated on.
        deterministic: whether a run on a GPU repeats bit for bit, too.
        early_stop: when the run ends before its last step.
        keep_best: of which step the student is kept.
        push_to_hub: the hub's repository that the student is uploaded to, None for none.
        shard: what a process holds of each model: none: all of it; fsdp2: a part of every weight.
        shard_replicas: how many groups of processes hold the whole of a divided model each.
        shard_offload: whether the parts of divided models lie in the host's memory.
        gradient_variance: regular expression of the parameters whose gradient variance is measured, None for none.
        resume: whether the run goes on; "auto" leaves it to the run folder, and is settled before the run begins.
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
        """Whether one teacher at a time is in memory."""
        return isinstance(self.task, MultiTask) and self.task.teachers == "swap"

    @property
    def benchmark_names(self) -> str:
        """Of all tasks."""
        return " and ".join(task.benchmark.name for task in self.tasks().values())

    def alternation(self) -> MultiTask | None:
        """Whose turn a step is, None where every step has all tasks."""
        return self.task if isinstance(self.task, MultiTask) and self.task.schedule == "alternating" else None

    def tasks(self) -> dict[str, TaskSettings]:
        """The run's tasks by name, one under "" where it has only one.

        A task of several brings its own teacher, lengths and benchmark, and takes the run's where it names none.
        Raises UserError for a teacher that is missing or unfit.
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
        """What a collector must know."""
        cadence = self.cadence
        every = (cadence.vocabulary_metrics_every, cadence.diagnostics_every)
        batch = self.batch
        return CollectSettings(
            self.seed, self.method.share, batch.updates, batch.mini_batches, batch.pass_size, *every,
            stale=self.max_staleness > 0,
        )  # fmt: skip

    def recording(self) -> RecordSettings:
        """What is recorded, and what the model card says."""
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
        """What the loop must know."""
        return LoopSettings(
            self.steps, self.seed, self.optimizer, self.batch.mini_batches, self.batch.epochs,
            self.cadence.eval_every, self.cadence.checkpoint_every, self.cadence.keep_checkpoints, self.max_bad_steps,
        )  # fmt: skip


@dataclass(frozen=True)
class Evaluation:
    """One model on one benchmark.

    Attributes:
        rollout: the engine that writes the answers.
        limits: of the engine, beside the benchmark's own length of an answer.
        resume: whether it goes on with the answers that the folder already holds.
        show: one response that is printed at the end (see `console.episodes.SHOWN`), None for none.
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
