"""Describes the machine and the memory use of a run."""

from __future__ import annotations

import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

from opdkit import device

_PACKAGES = (
    "opdkit",
    "torch",
    "transformers",
    "accelerate",
    "hydra-core",
    "wandb",
    "reasoning-gym",
    "math-verify",
)


def environment(seed: int) -> dict[str, object]:
    """Versions, commit, hardware and seed, for `env.json`. Contains no host or user name."""
    return {
        "seed": seed,
        "python": sys.version.split()[0],
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "cpu_count": psutil.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerators": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def peak_rss_mib() -> float:
    """Peak resident memory of this process so far in MiB, plus the peak on the accelerator, if any."""
    try:
        import resource
    except ImportError:  # Windows has no getrusage
        return psutil.Process().memory_info().rss / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    used = peak / 2**20 if sys.platform == "darwin" else peak / 2**10
    return used + (torch.cuda.max_memory_allocated() / 2**20 if device.uses_cuda() else 0.0)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """The output of git in the checkout of this code, None if it is not in one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
