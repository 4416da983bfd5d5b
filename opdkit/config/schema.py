"""The typed roots of `opdkit train`, `eval`, `study` and `serve`.

Values are in the yaml of the same name in conf/; this file has names and types. A group's own keys are checked
against the signature of its `_target_` (see `binding`), so nothing is declared twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

TRAIN_GROUPS = (
    "method",
    "objective",
    "aggregation",
    "sampler",
    "masking",
    "model",
    "adapter",
    "teacher",
    "reward",
    "rollout",
    "task",
    "benchmark",
    "optim",
    "probe",
)
EVAL_GROUPS = ("model", "benchmark", "rollout")
STUDY_GROUPS = ("study",)
SERVE_GROUPS = ("teacher",)
RECIPES = {
    "train": ("protocol", "experiment", "hparams_search", "debug"),
    "eval": ("protocol",),
    "study": (),
    "serve": (),
}
"""Root -> groups that only override other groups and root scalars, and add no key of their own."""

OPTIONAL_GROUPS = ("teacher", "adapter")
"""Groups that may be null; null selects their option `none`, since Hydra does not accept null as a choice."""

SHORTHANDS = ("k", "n_samples", "student_share")
"""Root keys that options read through `${oc.select:<name>,<default>}`."""

Group = dict[str, Any]


@dataclass
class Paths:
    runs: str = MISSING


@dataclass
class Batch:
    prompts: int = MISSING
    rollouts_per_prompt: int = MISSING
    mini_batch: int = MISSING
    micro_batch: int = MISSING
    micro_batch_tokens: int | None = MISSING
    packing: bool = MISSING
    epochs: int = MISSING


@dataclass
class EarlyStop:
    metric: str | None = MISSING
    mode: str = MISSING
    patience: int = MISSING
    min_delta: float = MISSING


@dataclass
class KeepBest:
    metric: str | None = MISSING
    mode: str = MISSING


@dataclass
class TrainConfig:
    method: Group = field(default_factory=Group)
    objective: Group = field(default_factory=Group)
    aggregation: Group = field(default_factory=Group)
    sampler: Group = field(default_factory=Group)
    masking: Group = field(default_factory=Group)
    model: Group = field(default_factory=Group)
    adapter: Group = field(default_factory=Group)
    teacher: Group = field(default_factory=Group)
    reward: Group = field(default_factory=Group)
    text: Group | None = None
    rollout: Group = field(default_factory=Group)
    task: Group = field(default_factory=Group)
    benchmark: Group = field(default_factory=Group)
    optim: Group = field(default_factory=Group)
    probe: Group = field(default_factory=Group)
    logger: Group = field(default_factory=Group)
    diagnostics: Group = field(default_factory=Group)
    paths: Paths = field(default_factory=Paths)
    k: int = MISSING
    steps: int = MISSING
    seed: int = MISSING
    run_dir: str | None = None
    push_to_hub: str | None = None
    resume: Any = False
    student_share: float = MISSING
    temperature: float = MISSING
    batch: Batch = field(default_factory=Batch)
    eval_every: int = MISSING
    checkpoint_every: int = MISSING
    keep_checkpoints: int = MISSING
    log_samples: int = MISSING
    vocabulary_metrics_every: int = MISSING
    diagnostics_every: int = MISSING
    probe_every: int = MISSING
    max_bad_steps: int = MISSING
    early_stop: EarlyStop = field(default_factory=EarlyStop)
    keep_best: KeepBest = field(default_factory=KeepBest)
    max_staleness: int = MISSING
    precision: str = MISSING
    deterministic: bool = MISSING
    shard: str = MISSING
    shard_replicas: int = MISSING
    shard_offload: bool = MISSING
    gradient_variance: str | None = None


@dataclass
class EvalConfig:
    model: Group = field(default_factory=Group)
    benchmark: Group = field(default_factory=Group)
    rollout: Group = field(default_factory=Group)
    paths: Paths = field(default_factory=Paths)
    n_samples: int = MISSING
    seed: int = MISSING
    batch_size: int = MISSING
    cache_gib: float = MISSING
    max_prompt_tokens: int = MISSING
    precision: str = MISSING
    run_dir: str | None = None
    resume: Any = False
    show: str | None = None


@dataclass
class StudyConfig:
    study: Group = field(default_factory=Group)
    paths: Paths = field(default_factory=Paths)
    run_dir: str | None = None
    resume: Any = False


@dataclass
class ServeConfig:
    teacher: Group = field(default_factory=Group)
    host: str = MISSING
    port: int = MISSING
    token_variable: str = MISSING
    queue: int = MISSING
    join_tokens: int = MISSING
    packing: bool = MISSING
    largest_mib: int = MISSING


SCHEMAS: dict[str, type] = {"train": TrainConfig, "eval": EvalConfig, "study": StudyConfig, "serve": ServeConfig}


@cache
def register() -> None:
    """Registers the schemas with Hydra as `<root>_schema`, once per process."""
    store = ConfigStore.instance()
    for root, schema in SCHEMAS.items():
        store.store(name=f"{root}_schema", node=schema)
