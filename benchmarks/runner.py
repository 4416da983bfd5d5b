"""Runs contestants in alternation, each repeat in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.cases import Case, Entry
from benchmarks.contestants import CONTESTANTS
from benchmarks.shapes import to_json

Launch = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """repeats: processes per entry; steps: timed steps in each, fewer if they exceed patience_s in total; threads: CPU
    threads; limit_s: time limit of a process."""

    repeats: int = 3
    steps: int = 3
    threads: int = 2
    seed: int = 0
    patience_s: float = 2.0
    limit_s: float = 300.0


def missing(cases: tuple[Case, ...]) -> list[str]:
    """Packages that these cases need and that are not installed."""
    wanted = {CONTESTANTS[entry.contestant].package for case in cases for entry in case.entries}
    return sorted(package for package in wanted if package and find_spec(package) is None)


def run_case(case: Case, plan: Plan, tell: Callable[[str], None], launch: Launch | None = None) -> dict[str, Any]:
    """Measure one case. Returns entry name -> {"repeats": [answers]} in the case's order.

    Entries alternate within each repeat, in reverse order every other repeat. One that failed or whose
    package is missing is skipped from then on, with the reason under "error".
    """
    launch = launch or (lambda job: launch_process(job, plan.limit_s))
    found: dict[str, Any] = {entry.name: {"repeats": []} for entry in case.entries}
    for entry in case.entries:
        package = CONTESTANTS[entry.contestant].package
        if package and find_spec(package) is None:
            found[entry.name]["error"] = f"{package} is not installed"
    repeats = min(plan.repeats, case.most_repeats or plan.repeats)
    for repeat in range(repeats):
        for entry in case.entries if repeat % 2 == 0 else case.entries[::-1]:
            answers = found[entry.name]
            if "error" in answers:
                continue
            # Memory hardly differs between processes: only the first one measures it.
            answer = launch(_job(entry, plan) | {"weighs": repeat == 0})
            if "error" in answer:
                answers["error"] = answer["error"]
            else:
                answers["repeats"].append(answer)
            tell(f"{case.name} {repeat + 1}/{repeats} {entry.name}: {_told(answer)}")
    return found


def _job(entry: Entry, plan: Plan) -> dict[str, Any]:
    return {
        "contestant": entry.contestant,
        "shape": to_json(entry.shape),
        "steps": plan.steps,
        "patience_s": plan.patience_s,
        "threads": plan.threads,
        "seed": plan.seed,
    }


def _told(answer: dict[str, Any]) -> str:
    if "error" in answer:
        return answer["error"]
    weighed = "" if answer["extra_mib"] is None else f", {answer['extra_mib']:.0f} MiB"
    return f"{min(answer['seconds']):.3f} s{weighed}"


def launch_process(job: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """Run one job in a new Python, with its thread count fixed before any library loads."""
    threads = str(job["threads"])
    quiet = {
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "WANDB_MODE": "disabled",
    }
    with tempfile.TemporaryDirectory() as folder:
        job_path, answer_path = Path(folder) / "job.json", Path(folder) / "answer.json"
        job_path.write_text(json.dumps(job))
        command = [sys.executable, "-m", "benchmarks.worker", str(job_path), str(answer_path)]
        try:
            done = subprocess.run(
                command, env=os.environ | quiet, capture_output=True, text=True, timeout=limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return {"error": f"took longer than {limit_s:.0f} s"}
        if not answer_path.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            return {"error": f"the process ended with code {done.returncode}: {last[:200]}"}
        return json.loads(answer_path.read_text())
