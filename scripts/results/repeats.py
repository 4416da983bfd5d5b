"""Whether runs are bitwise repeatable on this machine: each run twice, and once killed and resumed.

python scripts/results/repeats.py runs/repeats [KEY=VALUE ...]     # deterministic=true for a GPU
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CASES = {
    "topk": ["objective=topk"],
    "sampled": ["objective=sampled"],
    "full": ["objective=full_reverse_kl"],
    "tail": ["objective=topk_bucket"],
    "packed": ["objective=topk", "batch.packing=true"],
    "adapter": ["objective=topk", "adapter=lora"],
    "bfloat16": ["objective=topk", "precision=bfloat16"],
}
SHORT = [
    "steps=6", "checkpoint_every=1", "logger=jsonl", "batch.prompts=16", "batch.mini_batch=8", "batch.micro_batch=4",
    "rollout.max_new_tokens=48", "benchmark.limit=32",
]  # fmt: skip
KILLED_AFTER = 3


def start(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a run in `folder`, its output beside it."""
    with folder.with_suffix(".log").open("ab") as log:
        command = [sys.executable, "-m", "opdkit", "train", *arguments, f"run_dir={folder}"]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)


def rows(folder: Path) -> list[dict[str, float]]:
    """The metrics of each step, without times and memory."""
    try:
        lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = [json.loads(line) for line in lines]
    return [{name: x for name, x in row.items() if not name.startswith(("time/", "perf/", "memory/"))} for row in found]


def weights(folder: Path) -> str:
    """A digest of the final weights."""
    digest = hashlib.sha256()
    for file in sorted((folder / "final").glob("*.safetensors")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def whole(folder: Path, arguments: list[str]) -> None:
    """Run to the end."""
    if start(folder, arguments).wait() != 0:
        raise RuntimeError(f"{folder.name} failed: see {folder.with_suffix('.log')}")


def killed(folder: Path, arguments: list[str]) -> None:
    """Kill the run with SIGKILL once it has recorded a few steps, and resume it."""
    run = start(folder, arguments)
    while run.poll() is None and len(rows(folder)) < KILLED_AFTER:
        time.sleep(0.05)
    if run.poll() is not None:
        raise RuntimeError(f"{folder.name} ended before it was killed: see {folder.with_suffix('.log')}")
    run.kill()
    run.wait()
    whole(folder, [*arguments, "resume=true"])


def compare(folder: Path, name: str, arguments: list[str]) -> str:
    """The verdict on one case."""
    places = [folder / f"{name}-{kind}" for kind in ("first", "second", "killed")]
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda work: work[0](work[1], arguments), zip((whole, whole, killed), places, strict=True)))
    first, second, resumed = [(weights(place), rows(place)) for place in places]
    return f"{name}: second run {_same(first, second)}; killed and resumed {_same(first, resumed)}"


def _same(first: tuple[str, list[dict[str, float]]], other: tuple[str, list[dict[str, float]]]) -> str:
    named = zip(("weights", "metrics"), first, other, strict=True)
    return ", ".join(f"{what} {'equal' if a == b else 'differ'}" for what, a, b in named)


def main(folder: Path, further: list[str]) -> None:
    """Print a line per case."""
    folder.mkdir(parents=True)
    for name, chosen in CASES.items():
        print(compare(folder, name, [*chosen, *SHORT, *further]), flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), sys.argv[2:])
