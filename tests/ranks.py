"""Several runs, one after another, by the processes that torchrun starts around this file: one start for all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]


def torchrun(count: int, *command: str) -> list[str]:
    """The command line that starts `count` processes of `command` on this machine."""
    return [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=1", f"--nproc_per_node={count}",
        "--rdzv_backend=c10d", "--rdzv_endpoint=localhost:0", *command,
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """That of a process with one thread, on the CPU: a machine may have fewer GPUs than processes are asked for."""
    stays = {"ACCELERATE_USE_CPU": "true"} if torch.cuda.is_available() else {}
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | stays


def train_together(count: int, runs: Mapping[str, Sequence[str]], folder: Path) -> None:
    """Trains each of `runs`, name -> overrides, in `folder`/<name> by `count` processes."""
    asked = [["train", *overrides, f"run_dir={folder / name}"] for name, overrides in runs.items()]
    (folder / "asked.json").write_text(json.dumps(asked))
    done = subprocess.run(
        torchrun(count, __file__, str(folder / "asked.json")), cwd=folder, env=environment(), capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def _main(path: str) -> None:
    from opdkit.cli.main import run
    from opdkit.world.launched import Teller, joined

    with joined("train", ("train",), Teller()):
        for arguments in json.loads(Path(path).read_text()):
            assert run(arguments) == 0


if __name__ == "__main__":
    _main(sys.argv[1])
