"""Runs contestants turn and turn about, each repeat in a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from opdkit.bench.cases import CONTESTANTS, Case

Launch = Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Plan:
    """repeats: processes a contestant; steps: timed steps in each; threads: of the CPU; limit_s: of a process."""

    repeats: int = 5
    steps: int = 3
    threads: int = 2
    seed: int = 0
    limit_s: float = 300.0


def missing(cases: tuple[Case, ...]) -> list[str]:
    """Packages that contestants of these cases need and that are not installed."""
    wanted = {CONTESTANTS[name].package for case in cases for name in case.contestants}
    return sorted(package for package in wanted if package and find_spec(package) is None)


def run_case(case: Case, plan: Plan, tell: Callable[[str], None], launch: Launch | None = None) -> dict[str, Any]:
    """Measure one case. Returns contestant name -> {"repeats": [answers]} in the case's order.

    Contestants take turns inside each repeat, and the order turns round every other repeat. One whose
    package is missing, or that failed, is left out from then on and keeps its reason under "error".
    """
    launch = launch or (lambda job: launch_process(job, plan.limit_s))
    found: dict[str, Any] = {name: {"repeats": []} for name in case.contestants}
    for name in case.contestants:
        package = CONTESTANTS[name].package
        if package and find_spec(package) is None:
            found[name]["error"] = f"{package} is not installed"
    for repeat in range(plan.repeats):
        order = case.contestants if repeat % 2 == 0 else case.contestants[::-1]
        for name in order:
            if "error" in found[name]:
                continue
            answer = launch(_job(case, name, plan))
            if "error" in answer:
                found[name]["error"] = answer["error"]
            else:
                found[name]["repeats"].append(answer)
            tell(_line(case, name, repeat, plan, answer))
    return found


def _job(case: Case, name: str, plan: Plan) -> dict[str, Any]:
    return {
        "contestant": name,
        "kind": case.kind,
        "shape": asdict(case.shape),
        "steps": plan.steps,
        "threads": plan.threads,
        "seed": plan.seed,
    }


def _line(case: Case, name: str, repeat: int, plan: Plan, answer: dict[str, Any]) -> str:
    head = f"{case.name} {repeat + 1}/{plan.repeats} {name}"
    if "error" in answer:
        return f"{head}: {answer['error']}"
    return f"{head}: {min(answer['seconds']):.3f} s, {answer['extra_mib']:.0f} MiB"


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
        command = [sys.executable, "-m", "opdkit.bench.worker", str(job_path), str(answer_path)]
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
