"""`opdkit serve` and `opdkit train teacher=remote` as processes; the server is killed in the middle of the run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.serving.running import free_port
from tests.tiny import save_pair

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
RUN = [
    "steps=4", "logger=jsonl", "task=chain_sum_few", "benchmark=chain_sum_short", "rollout=hf_short", "batch.prompts=4",
    "batch.mini_batch=4", "batch.micro_batch=2", "batch.epochs=1", "diagnostics=none",
]  # fmt: skip


def opdkit(*arguments: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "opdkit", *arguments], cwd=log.parent, env=ENVIRONMENT, stdout=output, stderr=output
        )


def await_answer(address: str) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    pytest.fail("no server")


@pytest.mark.slow
def test_a_run_goes_on_when_its_server_was_killed_and_came_back(tmp_path: Path) -> None:
    pair, port = save_pair(tmp_path), free_port()
    served = ["serve", *pair[2:], f"port={port}"]
    address = f"http://127.0.0.1:{port}"
    remote = ["teacher=remote", f"teacher.servers=[{address}]", "teacher.backoff=0.1"]
    log = tmp_path / "run.log"
    server = opdkit(*served, log=tmp_path / "server.log")
    await_answer(address)
    run = opdkit("train", *pair[:2], *remote, *RUN, "run_dir=remote", log=log)
    while b"step 1/4" not in log.read_bytes():
        assert run.poll() is None, log.read_text()
        time.sleep(0.02)
    server.kill()
    server.wait()
    server = opdkit(*served, log=tmp_path / "server.log")
    try:
        assert run.wait(240) == 0, log.read_text()
    finally:
        server.terminate()
    assert server.wait(30) in (0, -15)
    assert opdkit("train", *pair, *RUN, "run_dir=local", log=log).wait(240) == 0
    weights = [(tmp_path / name / "final" / "model.safetensors").read_bytes() for name in ("remote", "local")]
    assert hashlib.sha256(weights[0]).digest() == hashlib.sha256(weights[1]).digest()
