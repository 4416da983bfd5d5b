"""The page, and its description of the machine."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from benchmarks.runner import Plan
from opdkit import device

PACKAGES = ("torch", "transformers", "accelerate", "trl", "liger-kernel")


def machine(plan: Plan, load_before: float | None, load_after: float | None) -> dict[str, Any]:
    """What the numbers depend on, without names or paths: processor type, threads, versions, load average."""
    import psutil
    import torch

    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "processor": platform.machine(),
        "cores": psutil.cpu_count(),
        "accelerator": torch.cuda.get_device_name() if device.uses_cuda() else None,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "threads": plan.threads,
        "repeats": plan.repeats,
        "steps": plan.steps,
        "load_before": load_before,
        "load_after": load_after,
    }


def page(command: str, about: Mapping[str, Any], sections: Sequence[Sequence[str]], plot: str) -> str:
    """The whole page. `plot` is the file name of the plot in the same folder."""
    versions = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    device = f", {about['accelerator']}" if about["accelerator"] else ""
    loads = ""
    if about["load_before"] is not None:
        loads = f" Load average before and after: {about['load_before']:.2f}, {about['load_after']:.2f}."
    parts = [
        "# Speed and memory compared with other projects",
        "",
        f"Written by `{command}`; don't edit. {about['cores']} cores, {about['processor']} "
        f"({about['instructions']}){device}, {about['memory_gib']} GiB, {about['system']}, Python {about['python']}, "
        f"{versions}; {about['threads']} threads, float32. {about['repeats']} repeats, each a fresh process that warms "
        f"up with one step and times up to {about['steps']}; contestants take turns.{loads}",
        "",
        METHOD,
    ]
    parts += ["", f"![Speed, memory and growth]({plot})"]
    for section in sections:
        parts += ["", *section]
    return "\n".join(parts) + "\n"


METHOD = """Time is that of one step, from ready inputs to its end. *min*: the fastest step of all repeats; *median*: of
the repeats' fastest steps; *CPU*: the least CPU time, summed over threads. Ratios are the baseline's number
divided by the contestant's. The machine may have had other load: read the ratios; the seconds
only indicate the scale.

*Extra MiB*, of the first repeat, is the peak of resident memory during one step minus that just before it,
when the weights, dense gradients of all trained weights, and optimiser state exist and have been written to
(freed pages are returned first). So it includes activations, logits, gathered rows, and second copies of gradients.

*Loss* is that of the first step. Contestants that compute the same loss agree; most peers compute that of the whole
vocabulary where opdkit computes that of the teacher's top K. That is the point: what a step costs when
only K rows of lm_head are needed."""
