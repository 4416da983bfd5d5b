"""`python -m benchmarks.running`: whole runs of `opdkit train` compared in alternation.

Two processes against one, rollouts generated during updates against rollouts before them, and games with a KV cache
kept across turns against games that re-read the chat at every turn. The models have random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from opdkit.models import ModelSpec

_ALWAYS = (
    "diagnostics=none", "logger=[]", "vocabulary_metrics_every=0", "gradient_variance=null", "checkpoint_every=0",
    "benchmark.limit=1", "benchmark.max_new_tokens=1", "batch.epochs=1", "optim.lr=1e-6",
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to run.

    Attributes:
        words: of the command, in addition to the common ones.
        processes: of the run.
        threads: of each process.
    """

    words: tuple[str, ...] = ()
    processes: int = 1
    threads: int = 1


@dataclass(frozen=True)
class Pair:
    """Two ways to do the same thing.

    Attributes:
        title: what is compared.
        goal: how many times faster the second way should be.
        layers: of both models.
        width: of both.
        heads: of each layer.
        words: of both commands.
        first: one way.
        second: the other way.
        whole: whether whole steps are timed, else the update phase.
        tokenizer: the path of the model it is from.
    """

    title: str
    goal: float
    layers: int
    width: int
    heads: int
    words: tuple[str, ...]
    first: Way
    second: Way
    whole: bool = True
    tokenizer: str = "embedded/student"


PAIRS: Mapping[str, Pair] = {
    "processes": Pair(
        "update phase: one process of two threads, two processes of one", 0.85, 30, 576, 9,
        ("batch.prompts=8", "batch.mini_batch=8", "batch.micro_batch=4", "rollout.max_new_tokens=128", "steps=3"),
        Way(threads=2), Way(processes=2), whole=False,
    ),
    "overlap": Pair(
        "a step: max_staleness=0, 1, with one thread each", 1.6, 6, 256, 4,
        ("batch.prompts=32", "batch.mini_batch=8", "batch.micro_batch=8", "rollout.max_new_tokens=128", "steps=6"),
        Way(), Way(("max_staleness=1",)),
    ),
    "games": Pair(
        "a step of text games: keep_cache=false, true", 2.0, 30, 576, 9,
        ("task=textworld_express", "batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=4", "steps=2",
         "rollout.max_new_tokens=12", "rollout.max_prompt_tokens=2048"),
        Way(("rollout.keep_cache=false",), threads=2), Way(threads=2), tokenizer="embedded/agent_student",
    ),
}  # fmt: skip


def make_model(folder: Path, pair: Pair, seed: int) -> None:
    """A Llama with random weights and an embedded model's tokenizer."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(ModelSpec(pair.tokenizer).location())
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=pair.width, intermediate_size=pair.width * 8 // 3,
        num_hidden_layers=pair.layers, num_attention_heads=pair.heads, num_key_value_heads=pair.heads // 3 or 1,
        max_position_embeddings=4096, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def run(pair: Pair, way: Way, models: Path, run_dir: Path) -> list[float]:
    """Seconds of each step except the first. Raises RuntimeError with the last line of a failed run."""
    launch = ["-m", "opdkit"]
    if way.processes > 1:
        launch = ["-m", "torch.distributed.run", "--nproc_per_node", str(way.processes), *launch]
    given = (f"model.path={models / 'student'}", f"teacher.path={models / 'teacher'}", f"run_dir={run_dir}")
    quiet = {
        "OMP_NUM_THREADS": str(way.threads), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
        "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, *launch, "train", *pair.words, *_ALWAYS, *given, *way.words],
        env=os.environ | quiet, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [seconds(row, pair.whole) for row in rows if "time/update_s" in row][1:]


def seconds(row: Mapping[str, float], whole: bool) -> float:
    """Seconds of a step: its phases in sequence, or the update and its waiting time if they overlap."""
    if not whole:
        return row["time/update_s"]
    waited = row.get("time/student_waited_s", row["time/rollout_s"] + row["time/teacher_s"])
    return row["time/update_s"] + waited


def compare(name: str, repeats: int) -> str:
    """Runs both ways in alternation; returns a line of results."""
    pair = PAIRS[name]
    found: tuple[list[float], list[float]] = ([], [])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for seed, model in enumerate(("student", "teacher")):
            make_model(root / model, pair, seed)
        for repeat in range(repeats):
            order = (0, 1) if repeat % 2 == 0 else (1, 0)
            for which in order:
                way = (pair.first, pair.second)[which]
                found[which].extend(run(pair, way, root, root / f"run-{repeat}-{which}"))
    best, middle = [min(times) for times in found], [statistics.median(times) for times in found]
    return (
        f"{pair.title}: {middle[0]:.2f} s and {middle[1]:.2f} s (medians), {best[0] / best[1]:.2f} times as fast by "
        f"minima, {middle[0] / middle[1]:.2f} by medians (goal {pair.goal})"
    )


def main(arguments: Sequence[str]) -> int:
    """Prints one line per comparison."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.running", description=__doc__)
    options.add_argument("--only", choices=list(PAIRS), action="append", help="a comparison (default: all)")
    options.add_argument("--repeats", type=int, default=3, help="runs per way (3)")
    chosen = options.parse_args(list(arguments))
    for name in chosen.only or PAIRS:
        print(compare(name, chosen.repeats), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
