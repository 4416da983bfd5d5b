"""Run folders as `opdkit train` leaves them, small and made up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

TOPK = {"_target_": "opdkit.objectives.TopK", "k": 32, "support_from": "teacher"}
SAMPLED = {"_target_": "opdkit.objectives.SampledToken", "gamma": 0.0}
ENVIRONMENT = {
    "command": "opdkit train objective=topk", "commit": "0123456789abcdef", "uncommitted_changes": False,
    "packages": {"torch": "2.13.0"}, "platform": "Linux x86_64", "cpu_count": 2, "torch_threads": 2, "accelerators": [],
}  # fmt: skip


def config(seed: int = 0, objective: Mapping[str, Any] = TOPK, **changed: Any) -> dict[str, Any]:
    return {
        "objective": dict(objective), "batch": {"prompts": 4}, "steps": 3, "seed": seed,
        "run_dir": f"runs/{seed}", "paths": {"runs": "runs"}, "logger": {"jsonl": {}}, **changed,
    }  # fmt: skip


def write_run(
    folder: Path, settings: Mapping[str, Any], correct: Sequence[bool] | None, *,
    samples: Sequence[Mapping[str, Any]] = (),
) -> Path:  # fmt: skip
    """A run with three steps; correct: the verdicts of its last evaluation, None where it did not finish."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(settings)))
    (folder / "env.json").write_text(json.dumps(ENVIRONMENT))
    rows = [{"step": step, "train/loss": 1.0 / step, "train/grad_variance": 10.0**-step} for step in (1, 2, 3)]
    write_lines(folder / "metrics.jsonl", rows)
    write_lines(folder / "samples.jsonl", samples)
    if correct is not None:
        accuracy = sum(correct) / len(correct)
        result = {"benchmark": "sums", "pass@1": accuracy, "truncated_fraction": 0.0, "response_tokens_mean": 9.0}
        summary = {
            "benchmark": "sums", "before": result | {"pass@1": 0.1}, "after": result,
            "teacher": result | {"pass@1": 1.0},
            "steps": 3, "seconds": 60.0,
        }  # fmt: skip
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "evals").mkdir()
        verdicts = [{"problem": f"sums/{n}", "sample": 0, "correct": right} for n, right in enumerate(correct)]
        write_lines(folder / "evals" / "sums.responses.jsonl", verdicts)
    return folder


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
