"""How long `opdkit report` takes on synthetic runs: `report_speed.py [--runs 200] [--steps 1000] [--seeds 5]`."""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

METRICS = (
    "train/loss", "train/lr", "train/grad_norm", "train/grad_variance", "train/grad_snr", "train/skipped_updates",
    "opd/student_entropy", "opd/teacher_entropy", "opd/student_mass", "opd/teacher_mass", "opd/outside_support",
    "opd/overlap", "opd/log_ratio_mean", "opd/positive_fraction", "opd/masked_fraction", "rollout/length_mean",
    "rollout/truncated_fraction", "rollout/reward_mean", "rollout/ungraded_fraction", "rollout/dropped_prompts",
    "time/rollout_s", "time/teacher_s", "time/update_s", "perf/tokens_per_s", "perf/peak_rss_mib",
)  # fmt: skip
TOKENS, PROBLEMS, SAMPLES = 120, 256, 4


def main() -> None:
    """Writes runs of realistic length, reports on them in a separate process, and prints the seconds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(given.runs):
            write(folder / "runs" / str(number), number // given.seeds, number % given.seeds, given.steps)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        command = [sys.executable, "-m", "opdkit.cli", "report", str(folder / "runs"), "--out", str(folder / "out")]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - started
        page = (folder / "out" / "report.html").stat().st_size
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        print(f"{given.runs} runs of {given.steps} steps, {size / 2**20:.0f} MiB, page {page / 2**20:.2f} MiB")
        print(f"{seconds:.1f} s, of which {used.ru_utime + used.ru_stime:.1f} s CPU time")


def write(folder: Path, configuration: int, seed: int, steps: int) -> None:
    """One finished run."""
    random.seed(configuration * 1000 + seed)
    (folder / "evals").mkdir(parents=True)
    config = {"objective": {"_target_": "opdkit.objectives.TopK", "k": 2 + configuration}, "seed": seed, "steps": steps}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "env.json").write_text(json.dumps({"commit": "0" * 40, "command": f"opdkit train k={configuration}"}))
    write_rows(
        folder / "metrics.jsonl", [{"step": n + 1, **{name: random.random() for name in METRICS}} for n in range(steps)]
    )
    texts = ["word "] * TOKENS
    sample = {
        "response": "word " * TOKENS,
        "reward": 1.0,
        "tokens": TOKENS,
        "token_texts": texts,
        "counted": [True] * TOKENS,
    }
    ratios = [round(random.gauss(0, 1), 4) for _ in range(TOKENS)]
    write_rows(
        folder / "samples.jsonl",
        [{"step": n // SAMPLES + 1, **sample, "log_ratio": ratios} for n in range(steps * SAMPLES)],
    )
    verdicts = [random.random() < 0.5 for _ in range(PROBLEMS)]
    rows = [{"problem": str(n), "correct": right, "text": "word " * TOKENS} for n, right in enumerate(verdicts)]
    write_rows(folder / "evals" / "sums.responses.jsonl", rows)
    result = {"pass@1": sum(verdicts) / PROBLEMS, "truncated_fraction": 0.0, "response_tokens_mean": 1.0 * TOKENS}
    summary = {"benchmark": "sums", "before": result, "after": result, "teacher": result, "seconds": 60.0}
    (folder / "summary.json").write_text(json.dumps(summary))


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """One object per line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
