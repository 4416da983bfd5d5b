"""Makes short training runs of several candidates, each at the best learning rate of a small grid.

A run is `opdkit train` without evaluating the initial student and the teacher. Step time is the process's CPU time:
with one thread that equals wall time on an idle core, whatever the other load.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from learning_rates import Job, accuracy

from opdkit.config.build import Origin, build_experiment
from opdkit.config.compose import Source, compose
from opdkit.evaluation import Asking, evaluate_on
from opdkit.training.experiment import Experiment
from opdkit.training.loop import Loop
from opdkit.training.session import Session, close_session, open_session
from opdkit.training.signals import StopRequest
from opdkit.training.step_data import StepData
from opdkit.training.watch import Watch

SEEDS = (300, 301, 302, 303, 304)
SHORT = (
    "batch.prompts=16", "batch.mini_batch=8", "batch.micro_batch=8", "batch.epochs=1",
    "task.parameters.max_terms=4", "benchmark.source.parameters.max_terms=4", "benchmark.limit=128",
    "optim.warmup_steps=2", "logger=jsonl", "diagnostics=none", "vocabulary_metrics_every=0", "gradient_variance=null",
)  # fmt: skip
_SELECTION = ("seed=400", "task.seed=1", "benchmark.source.seed=1")
_GROUPS = ("objective", "method", "model", "teacher")


@dataclass(frozen=True)
class Candidates:
    """A group of compared candidates.

    Attributes:
        members: a name, and the overrides that make it.
        common: the overrides of every run.
        rates: the grid of learning rates.
        watched: additional overrides of a compared run, such as `eval_every`.
    """

    members: Mapping[str, tuple[str, ...]]
    common: tuple[str, ...]
    rates: tuple[float, ...]
    watched: tuple[str, ...] = ()

    def selection(self, name: str, rate: float) -> Job:
        """A run for choosing a learning rate."""
        return Job(f"grid/{name}/lr{rate:g}", (*self.common, *self.members[name], f"optim.lr={rate}", *_SELECTION))

    def comparison(self, name: str, rate: float, seed: int) -> Job:
        """A run of the comparison."""
        own = (*self.members[name], *self.watched, f"optim.lr={rate}", f"seed={seed}")
        return Job(f"final/{name}/seed{seed}", (*self.common, *own))

    def start(self, name: str) -> Job:
        """The student before training, with the settings of a member."""
        return Job("start", (*self.common, *self.members[name]))

    def grid(self, root: Path, name: str) -> dict[float, float]:
        """pass@1 by learning rate, of finished runs."""
        found = {rate: accuracy(root, self.selection(name, rate)) for rate in self.rates}
        return {rate: value for rate, value in found.items() if value is not None}

    def best(self, root: Path, name: str) -> float | None:
        """The best rate, None if the grid is unfinished."""
        found = self.grid(root, name)
        return max(found, key=lambda rate: found[rate]) if len(found) == len(self.rates) else None


def built(overrides: Sequence[str]) -> Experiment:
    """The experiment as built by the command line; the last value of a key counts."""
    last = {text.split("=")[0]: text for text in overrides}
    source = Source("train")
    typed = {group: last[group].split("=")[1] for group in _GROUPS if group in last}
    chosen = {"objective": "topk", "method": "opd", "model": "embedded", "teacher": "embedded"} | typed
    return build_experiment(compose(source, list(last.values())), Origin(list(last.values()), chosen, source.folders))


def make(root: Path, job: Job, *, trains: bool = True) -> None:
    """Run a job without a summary. trains: False evaluates the initial student."""
    folder = root / job.name
    if (folder / "summary.json").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    experiment = built(job.overrides)
    session = open_session(experiment, None)
    seen = _Observer(session, experiment, folder)
    if trains:
        Loop(experiment.looping(), session, folder / "checkpoints", seen, StopRequest()).run()
        shutil.rmtree(folder / "checkpoints")
    after = _evaluated(session, experiment, folder / "evals")
    (folder / "summary.json").write_text(json.dumps({"after": after} | seen.told(), indent=1) + "\n", encoding="utf-8")
    session.close()
    close_session()
    print(f"{job.name}: {after['pass@1']:.3f}", flush=True)


@dataclass
class _Observer:
    """Evaluates on schedule, and records the time and metrics of each step."""

    session: Session
    experiment: Experiment
    folder: Path
    seconds: list[float] = field(default_factory=list[float])
    lengths: list[float] = field(default_factory=list[float])
    curve: dict[int, float] = field(default_factory=dict[int, float])
    metrics: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    mark: float = field(default_factory=time.process_time)

    def evaluate(self, step: int) -> dict[str, float]:
        started = time.process_time()
        self.curve[step] = _evaluated(self.session, self.experiment, self.folder / f"evals-{step}")["pass@1"]
        self.mark += time.process_time() - started
        return {}

    def log(self, step: int, metrics: dict[str, float], data: Sequence[StepData]) -> dict[str, float]:
        now = time.process_time()
        self.seconds.append(now - self.mark)
        self.mark = now
        self.lengths.append(metrics["rollout/length_mean"])
        for name, value in metrics.items():
            self.metrics.setdefault(name, []).append(value)
        return metrics

    def keep_best(self, step: int, watch: Watch) -> None:
        pass

    def saved(self, step: int, folder: Path) -> None:
        pass

    def card(self, step: int) -> str:
        return ""

    def told(self) -> dict[str, object]:
        """The contents of a summary besides the final evaluation."""
        means = {name: fmean(values) for name, values in sorted(self.metrics.items())}
        step_s = median(self.seconds) if self.seconds else 0.0
        return {"step_cpu_s": step_s, "lengths": self.lengths, "curve": self.curve, "means": means}


def _evaluated(session: Session, experiment: Experiment, folder: Path) -> dict[str, float]:
    student, task = session.policy.model, session.tasks[""].settings
    asking = Asking(
        engine=task.rollout.open(student), renderer=student, seed=experiment.seed, folder=folder,
        max_prompt_tokens=task.rollout.max_prompt_tokens, progress=lambda text: None,
    )  # fmt: skip
    return evaluate_on(asking, experiment.benchmark)
