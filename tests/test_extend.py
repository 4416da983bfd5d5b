"""Each row of the table "To add" in ARCHITECTURE.md, done from a folder outside the package, and run for two steps."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.lamp import LAMP
from tests.tiny import save_pair

MODULE = """
from dataclasses import dataclass, field
from typing import Any

import torch

from opdkit.data.grade import Grade
from opdkit.data.loss import ModelNeeds, Needs, TokenLoss
from opdkit.data.problem import Message, Problem
from opdkit.functional.divergences import ReverseKL
from opdkit.functional.masked import only
from opdkit.generation import EngineCorrection, HFEngine
from opdkit.loggers import MetricLogger
from opdkit.teachers import LocalTeacher


@dataclass(frozen=True)
class Squared:
    weight: float = 1.0

    @property
    def needs(self):
        return Needs(ModelNeeds(sampled=True), ModelNeeds(sampled=True))

    def __call__(self, student, teacher, batch):
        gap = student.sampled_log_prob - teacher.sampled_log_prob.detach()
        return TokenLoss(self.weight * only(gap, batch.loss_mask).square())


@dataclass(frozen=True)
class Doubled(ReverseKL):
    def terms(self, log_p, log_q):
        return 2 * super().terms(log_p, log_q)


@dataclass(frozen=True)
class EvenIds:
    def __call__(self, logits):
        allowed = torch.zeros_like(logits, dtype=torch.bool)
        allowed[:, ::2] = True
        return allowed


@dataclass(frozen=True)
class FirstHalf:
    def __call__(self, rollout, vocabularies):
        place = rollout.sampled_mask.cumsum(1)
        return rollout.sampled_mask & (place <= (rollout.sampled_mask.sum(1, keepdim=True) + 1) // 2)


@dataclass(frozen=True)
class Brevity:
    def open(self, context):
        return self

    def grade(self, groups, step):
        return [[Grade(1.0 / (1 + len(text))) for text in group.responses] for group in groups]

    def metrics(self):
        return {"mine": 1.0}

    def close(self):
        pass


def length(problem, response, siblings):
    return float(len(response))


@dataclass(frozen=True)
class Louder(LocalTeacher):
    def open(self, context):
        print("opening a teacher of mine")
        return super().open(context)


@dataclass(frozen=True)
class Engine:
    max_new_tokens: int = 8
    max_prompt_tokens: int = 128

    @property
    def correction(self):
        return EngineCorrection()

    def in_process(self):
        return self

    def open(self, model):
        return HFEngine(model, 2)


@dataclass(frozen=True)
class Source:
    name: str = "mine"

    def load(self):
        return [Problem(f"mine/{i}", (Message("user", f"say {i}"),), str(i)) for i in range(8)]

    def grade(self, pairs):
        return [Grade.of(reference in response, None) for response, reference in pairs]


class Losses:
    def __init__(self, file):
        self.file = file

    def log(self, step, metrics):
        if "train/loss" in metrics:
            with open(self.file, "a") as file:
                print(step, file=file)

    def samples(self, step, rows):
        pass

    def tables(self, step, tables):
        pass

    def close(self, *, failed=False):
        pass


@dataclass(frozen=True)
class Logger:
    name: str

    def open(self, folder, resolved, done):
        return Losses(folder / self.name)
"""

LAMP_YAML = """_target_: opdkit.environments.Custom
_recursive_: false
environment: {_target_: own_environment.Lamp, size: 2}
name: lamp
start: START
count: 4
max_turns: 2
first_template: "{observation}"
"""


OPTIONS = {
    "objective/squared": "# the squared log-ratio\n_target_: mine.Squared\nweight: 0.5\n",
    "objective/divergence/doubled": "# twice the reverse KL\n_target_: mine.Doubled\n",
    "sampler/even": "# even ids alone\n_target_: mine.EvenIds\n",
    "masking/half": "# the first half of a response\n_target_: mine.FirstHalf\n",
    "reward/brevity": "# short responses\n_target_: mine.Brevity\n",
    "teacher/louder": "# a teacher that tells when it is opened\n_target_: mine.Louder\npath: ???\n",
    "rollout/mine": "# two rows at a time\n_target_: mine.Engine\nmax_new_tokens: 8\nmax_prompt_tokens: 128\n",
    "task/mine": "# eight numbers\n_target_: mine.Source\n",
    "benchmark/mine": (
        "# the same, greedy\ndefaults:\n  - /sampler@sampler: greedy\n  - _self_\n"
        "_target_: opdkit.evaluation.Benchmark\nname: mine\nsource: {_target_: mine.Source}\n"
        "max_new_tokens: 8\nlimit: 4\n"
    ),
    "logger/losses": "# the steps in a file\nlosses:\n  _target_: mine.Logger\n  name: losses.txt\n",
    "task/lamp": (
        "# a lamp to be switched on\ndefaults:\n  - override /rollout@_global_.rollout: episodes\n  - _self_\n"
        + LAMP_YAML.replace("START", "0")
    ),
    "benchmark/lamp": (
        "# other lamps, greedy\ndefaults:\n  - /sampler@sampler: greedy\n  - _self_\n"
        "_target_: opdkit.evaluation.EpisodeBenchmark\nname: lamp\nmax_new_tokens: 4\nlimit: 2\nsource:\n"
        + "".join(f"  {line}\n" for line in LAMP_YAML.replace("START", "100").splitlines())
    ),
    "method/two": (
        "# the student's rollouts and the data\n_target_: opdkit.training.term.Method\nterms:\n"
        "  student: {_target_: opdkit.training.term.Term}\n"
        "  data:\n    _target_: opdkit.training.term.Term\n    author: data\n    weight: 0.1\n    every: 2\n"
        "    objective: {_target_: opdkit.objectives.NegativeLogLikelihood}\n"
    ),
}

SHORT = (
    "logger=jsonl", "steps=2", "batch.prompts=2", "batch.mini_batch=4", "batch.rollouts_per_prompt=2",
    "batch.micro_batch=2", "batch.epochs=1", "benchmark.limit=2", "benchmark.max_new_tokens=8",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "own_environment.py").write_text(LAMP)
    for name, text in OPTIONS.items():
        file = tmp_path / "options" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name in ("mine", "own_environment"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    "chosen",
    [
        ("objective=squared",),
        ("objective=topk", "objective/divergence=doubled", "k=4"),
        ("sampler=even",),
        ("masking=half",),
        ("reward=brevity",),
        ("reward=function", "reward.function=mine.py:length"),
        ("rollout=mine",),
        ("task=mine", "benchmark=mine"),
        ("method=two",),
        ("task=lamp", "benchmark=lamp", "rollout.max_new_tokens=4", "rollout.side_by_side=2"),
    ],
    ids=lambda chosen: chosen[0],
)
def test_an_option_of_ones_own_runs(folder: Path, chosen: tuple[str, ...]) -> None:
    pair = [
        text for text in save_pair(folder / "pair") if text.partition("=")[0] not in {c.split("=")[0] for c in chosen}
    ]
    assert main(["train", "--config-dir", "options", *pair, *SHORT, "run_dir=run", *chosen]) == 0
    rows = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2]
    assert (folder / "run" / "final" / "model.safetensors").is_file()


def test_a_teacher_of_ones_own_is_opened(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = save_pair(folder / "pair")
    path = next(text for text in pair if text.startswith("teacher.path="))
    kept = [text for text in pair if not text.startswith("teacher")]
    options = ["--config-dir", "options", "teacher=louder", path]
    assert main(["train", *options, *kept, *SHORT, "run_dir=run"]) == 0
    assert "opening a teacher of mine" in capsys.readouterr().out


def test_a_logger_of_ones_own_is_told(folder: Path) -> None:
    short = [text for text in SHORT if not text.startswith("logger=")]
    pair = save_pair(folder / "pair")
    assert main(["train", "--config-dir", "options", *pair, *short, "run_dir=run", "logger=losses"]) == 0
    assert (folder / "run" / "losses.txt").read_text() == "1\n2\n"
