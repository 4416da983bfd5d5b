"""One contestant on one case in a separate process: `python -m benchmarks.worker JOB ANSWER`.

JOB is a JSON file with contestant, shape, steps, patience_s, weighs, threads and
seed; ANSWER is the JSON file to write.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def measure(job: dict[str, Any]) -> dict[str, Any]:
    """Run the job in this process.

    Returns seconds and cpu_seconds (a list each), losses, extra_mib, gradient_mib and exact. Raises
    whatever the contestant raises.
    """
    import torch

    from benchmarks.contestants import CONTESTANTS
    from benchmarks.meter import Effort
    from benchmarks.shapes import from_json

    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    module, _, function = CONTESTANTS[job["contestant"]].factory.partition(":")
    run = getattr(importlib.import_module(module), function)
    meter = run(from_json(job["shape"]), Effort(job["steps"], job["patience_s"], job["weighs"]))
    return {
        "seconds": meter.seconds,
        "cpu_seconds": meter.cpu_seconds,
        "losses": meter.losses,
        "extra_mib": meter.extra_mib,
        "gradient_mib": meter.gradient_mib,
        "exact": meter.exact,
    }


def main(arguments: list[str]) -> int:
    """Reads the job and writes the answer; a failure is written as a one-line `error`."""
    job_path, answer_path = (Path(argument) for argument in arguments)
    job = json.loads(job_path.read_text())
    try:
        answer = measure(job)
    except Exception as error:  # a failed contestant is reported, and the benchmark continues with the others
        traceback.print_exc()
        answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
    answer_path.write_text(json.dumps(answer))
    # A peer's threads must not block the exit, nor their output at exit be mistaken for an error.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
