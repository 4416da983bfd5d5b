"""Short runs whose numbers are recorded in tests/fixtures/numbers, and what of a run is held to the record.

`scripts/record_numbers.py` writes the record, `tests/invariants/test_numbers.py` compares with it. Nothing here imports
opdkit: a case is a command line, run by a process of its own on the code of any folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

RENAMED: dict[str, str] = {}
"""Metric as recorded -> its name today; "" where it is no longer told. A task's prefix ("sums/") is left out."""

MOVED: dict[str, str] = {
    "student_share=0.5": "method=gkd student_share=0.5",
    # Recorded when each turn read its whole chat again.
    "task=textworld_express": "task=textworld_express rollout.keep_cache=false",
    "task=sums_and_games": "task=sums_and_games task.parts.games.rollout.keep_cache=false",
}
"""Override as a case writes it -> what says the same today: a key ("batch.epochs"), or a key and a value
("task=multi"), which goes first. "" where nothing needs to be said any more; a space separates several."""

FIXTURES = Path(__file__).resolve().parent / "fixtures" / "numbers"
MACHINE = FIXTURES / "machine.json"
COMMAND = (sys.executable, "-m", "opdkit", "train")
THREADS = 1
ENVIRONMENT = {
    "OMP_NUM_THREADS": str(THREADS),
    "MKL_NUM_THREADS": str(THREADS),
    "CUDA_VISIBLE_DEVICES": "",
    "WANDB_MODE": "offline",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
UNEQUAL = ("time/", "perf/")
"""Metrics that differ between two runs of the same thing: times and memory."""

WORDS = ("protocol", "responses")
"""Keys of an evaluation's summary that are no numbers."""

PACKAGES = ("torch", "transformers", "numpy", "reasoning-gym")
SHORT = (
    "logger=jsonl", "steps=2", "batch.prompts=4", "batch.rollouts_per_prompt=1", "batch.mini_batch=4",
    "batch.micro_batch=4", "batch.epochs=1", "checkpoint_every=0", "log_samples=4", "diagnostics_every=2",
    "benchmark.limit=2",
)  # fmt: skip
GROUPS = ("batch.prompts=2", "batch.rollouts_per_prompt=4", "batch.mini_batch=8")
GAMES = ("batch.prompts=2", "batch.mini_batch=2", "batch.micro_batch=2")
ONE_GAME = (
    "task.parts.games.source.games=[simonsays]", "task.parts.games.benchmark.source.games=[simonsays]",
    "task.parts.games.benchmark.limit=2",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A run: `overrides` come after SHORT, the last value of a key holds.

    `slow`: left out of the fast tests. `games`: needs Java and TextWorld-Express. `relative`: how far a metric of the
    first step may be from the record on another machine. `mended`: a regular expression of the recorded numbers that
    a fix has changed or dropped since.
    """

    name: str
    overrides: tuple[str, ...]
    slow: bool = True
    games: bool = False
    relative: float = 1e-4
    mended: str = ""

    def arguments(self, moved: Mapping[str, str] = MOVED) -> list[str]:
        """What follows `opdkit train`, but for the run's folder."""
        last = {text.partition("=")[0]: text for text in (*SHORT, *self.overrides)}
        return [part for text in last.values() for part in _today(text, moved).split()]


CASES = (
    Case("topk", ("objective=topk", "steps=3"), slow=False),
    Case("sampled", ("objective=sampled",)),  # "epochs" is a fast one of the same objective
    Case("topk_union", ("objective=topk_union", "k=8")),
    Case("topk_bucket", ("objective=topk_bucket", "k=4", "aggregation=sequence_sum")),
    Case("ema_pg_teacher", ("objective=ema_pg_teacher", "k=4")),
    # Rows that the teacher wrote told the teacher's entropy and log-probs as the student's, and their lengths and
    # rewards as rollouts of the student. They stand under `teacher/` now.
    Case(
        "gkd_jsd",
        ("objective=gkd_jsd", "student_share=0.5", "steps=3"),
        slow=False,
        mended=r"opd/student_entropy|rollout/|failure/|diagnostics",
    ),
    Case("minillm", ("objective=minillm",)),
    Case("iw_opd", ("objective=iw_opd", "batch.micro_batch=2")),
    # GRPO without KL loads no teacher any more, so nothing is told of one.
    Case(
        "grpo",
        ("objective=grpo", *GROUPS),
        slow=False,
        mended=r"opd/(teacher|student_mass|outside|overlap|log_|positive)|failure|diagnostics|evaluations . teacher",
    ),
    Case(
        "discounted_masked",
        ("objective=sampled", "objective.discount=0.5", "masking=first_occurrence", "probe_every=2", *GROUPS),
    ),
    Case("multi", ("task=multi",), slow=False),
    Case("games", ("task=textworld_express", *GAMES), games=True),
    Case(
        "sums_and_games",
        ("task=sums_and_games", "task.schedule=mixed", "objective=sampled", *GAMES, *ONE_GAME),
        games=True,
    ),
    Case("bfloat16", ("precision=bfloat16",), relative=2e-2),
    Case(
        "epochs",
        ("objective=sampled", "batch.prompts=8", "batch.mini_batch=4", "batch.micro_batch=2", "batch.epochs=2"),
        slow=False,
    ),
    Case("entropy_mask", ("masking=entropy", "aggregation=sequence_mean", "sampler=min_p")),
    Case(
        "benchmark", ("benchmark.limit=8", "benchmark.n_samples=2", "sampler@benchmark.sampler=top_p", "eval_every=1")
    ),
)


def run(case: Case, code: Path, folder: Path, moved: Mapping[str, str] = MOVED) -> Path:
    """Trains with the code in `code`, in the empty folder `folder`. Returns the run's folder; raises RuntimeError."""
    place = folder / case.name
    done = subprocess.run(
        [*COMMAND, *case.arguments(moved), f"run_dir={place}"],
        cwd=folder,
        env=os.environ | ENVIRONMENT | {"PYTHONPATH": str(code)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{case.name} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return place


SERVED = """
import json, os, sys
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
from opdkit.cli.main import main
for line in sys.stdin:
    folder, arguments = json.loads(line)
    os.chdir(folder)
    print(main(["train", *arguments]), file=answers, flush=True)
"""


class Runner:
    """One process that trains case after case on the code in `code`; what it says is kept in the file `log`."""

    def __init__(self, code: Path, log: Path) -> None:
        self.log = log
        environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(code)}
        pipe = subprocess.PIPE
        with log.open("w") as said:
            command = [sys.executable, "-c", SERVED]
            self._process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=said, text=True)

    def run(self, case: Case, folder: Path) -> Path:
        """As `run` does it, but for the process."""
        place = folder / case.name
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([str(folder), [*case.arguments(), f"run_dir={place}"]]), file=self._process.stdin, flush=True)
        if self._process.stdout.readline().strip() != "0":
            raise RuntimeError(f"{case.name} failed:\n{self.log.read_text(encoding='utf-8')}")
        return place

    def close(self) -> None:
        self._process.communicate()


def numbers(folder: Path, renamed: Mapping[str, str] = RENAMED) -> dict[str, Any]:
    """What a run computed: metrics under their recorded names, final weights, evaluations, texts and tables."""
    weights = load_file(folder / "final" / "model.safetensors")
    return {
        "metrics": [metrics_of(row, renamed) for row in _lines(folder / "metrics.jsonl")],
        "rollouts": _hash(row["response"] for row in _lines(folder / "samples.jsonl")),
        "diagnostics": {
            f"{row['step']} {row['diagnostic']}": _hash([json.dumps(row["rows"])])
            for row in _lines(folder / "diagnostics.jsonl")
        },
        "weights": {name: _tensor(value) for name, value in sorted(weights.items())},
        "evaluations": dict(_evaluations(folder / "evals")),
    }


def metrics_of(row: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """A row of metrics.jsonl under the recorded names, without times and memory."""
    recorded = {today: name for name, today in renamed.items()}
    found: dict[str, Any] = {}
    for key, value in row.items():
        task, _, inner = key.partition("/")
        name = f"{task}/{recorded[inner]}" if inner in recorded else recorded.get(key, key)
        if not any(f"/{prefix}" in f"/{name}" for prefix in UNEQUAL):
            found[name] = value
    return found


def machine() -> dict[str, Any]:
    """What the last bits depend on beside the code."""
    about: dict[str, str] = {}
    information = Path("/proc/cpuinfo")
    for line in information.read_text(encoding="utf-8").splitlines() if information.is_file() else ():
        key, _, value = line.partition(":")
        about.setdefault(key.strip(), value.strip())
    named = ("model name", "cpu family", "model", "stepping", "cache size")
    return {
        "cpu": {key: about.get(key) for key in named} | {"flags": _hash(sorted(about.get("flags", "").split()))},
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": THREADS,
        "packages": {name: version(name) for name in PACKAGES},
    }


def _today(override: str, moved: Mapping[str, str]) -> str:
    key, _, value = override.partition("=")
    if override in moved:
        return moved[override]
    return f"{name}={value}" if (name := moved.get(key, key)) else ""


def _tensor(value: torch.Tensor) -> dict[str, Any]:
    numerical = value.double()
    raw = value.contiguous().flatten().view(torch.uint8).numpy().tobytes()
    return {
        "sha256": hashlib.sha256(raw).hexdigest(),
        "mean": float(numerical.mean()),
        "norm": float(numerical.square().sum().sqrt()),
    }


def _evaluations(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.rglob("*.responses.jsonl")):
        summary = file.with_name(file.name.replace(".responses.jsonl", ".json"))
        said = json.loads(summary.read_text(encoding="utf-8"))
        kept = {key: value for key, value in said.items() if key not in WORDS}
        texts = _hash(text for row in _lines(file) for text in _said(row))
        yield str(summary.relative_to(folder)), {"summary": kept, "texts": texts}


def _said(row: Mapping[str, Any]) -> list[str]:
    if "exchanges" in row:
        return [text for exchange in row["exchanges"] for text in (exchange["observation"], exchange["response"])]
    return [row["text"]]


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _hash(texts: Iterator[str] | Sequence[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
