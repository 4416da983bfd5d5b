"""`python -m benchmarks.served`: a teacher served by `opdkit serve` against the same teacher in process, alternating.

The server is a separate process on this machine. Both score the same rollouts, one micro-batch at a time, K = 32; the
scores are compared bitwise.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import SMALL
from benchmarks.models import END, PAD, batch_of, student_and_teacher
from benchmarks.shapes import UpdateShape
from opdkit.data.micro_batches import MicroBatch
from opdkit.data.rollout import Prompts, Rollout
from opdkit.data.scores import Scores
from opdkit.models import LanguageModel, Request
from opdkit.serving.server import listening, server_of
from opdkit.serving.settings import Service
from opdkit.teachers import LocalTeacher, OpenLocalTeacher, RemoteTeacher, TeacherContext

_SHAPE = replace(SMALL, batch=16)
_MICRO_BATCH = MicroBatch(4)
_GOAL = 1.15


class _Tokenizer:
    """The parts of a tokenizer that a server uses; it is not saved."""

    pad_token_id = PAD
    eos_token_id = END

    def get_vocab(self) -> dict[str, int]:
        return {}

    def save_pretrained(self, folder: str) -> None:
        """A tokenizer without files."""


def teacher_of(shape: UpdateShape) -> LanguageModel:
    """The teacher, with the same weights in every process."""
    return LanguageModel(student_and_teacher(shape)[1], _Tokenizer(), "teacher", shape.vocabulary)


def serve(port: int) -> None:
    """Runs the server until it is terminated."""
    service = Service(LocalTeacher("embedded/teacher"), "127.0.0.1", port, "OPDKIT_BENCH_TOKEN", 64, 0, False, 256, {})
    with listening("127.0.0.1", port) as listener:
        server_of(teacher_of(_SHAPE), service).run(sockets=[listener])


def compare(repeats: int, threads: int) -> dict[str, float]:
    """Seconds of both, medians over `repeats` pairs. Raises ValueError if scores differ."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.served", "--serve", str(port), "--threads", str(threads)]
    server = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1])
    try:
        model, rollout = teacher_of(_SHAPE), _rollout(_SHAPE)
        context = TeacherContext("cpu", model, 1.0, _MICRO_BATCH)
        spec = RemoteTeacher(servers=[f"http://127.0.0.1:{port}"], token_variable=None)
        remote = _await(lambda: spec.open(context), server)
        local = OpenLocalTeacher(model, 1.0, _MICRO_BATCH)
        pairs = [(_timed(local, rollout), _timed(remote, rollout)) for _ in range(repeats + 1)][1:]
        for (_, ours), (_, theirs) in pairs:
            if not all(torch.equal(getattr(ours, n), getattr(theirs, n)) for n in ("support_ids", "support_logits")):
                raise ValueError("the served scores differ from those of the teacher in process")
        remote.close()
    finally:
        server.terminate()
        server.wait()
    return {
        "in_process_s": statistics.median(one[0] for one, _ in pairs),
        "served_s": statistics.median(other[0] for _, other in pairs),
        "ratio": statistics.median(other[0] / one[0] for one, other in pairs),
    }


def _timed(teacher: Any, rollout: Rollout) -> tuple[float, Scores]:
    started = time.perf_counter()
    scores = teacher.score(rollout, rollout.sampled_mask, Request(top_k=_SHAPE.k))
    return time.perf_counter() - started, scores


def _await(open_teacher: Any, server: subprocess.Popen[bytes]) -> Any:
    from opdkit.errors import UserError

    for _ in range(600):
        try:
            return open_teacher()
        except UserError:
            if server.poll() is not None:
                raise
            time.sleep(0.2)
    raise TimeoutError("the server did not start")


def _rollout(shape: UpdateShape) -> Rollout:
    batch = batch_of(shape)
    every = torch.ones_like(batch.response, dtype=torch.bool)
    prompts = Prompts(batch.prompt, torch.ones_like(batch.prompt, dtype=torch.bool), ())
    nothing = torch.zeros(batch.response.shape)
    return Rollout(prompts, batch.response, every, nothing, nothing, ("length",) * shape.batch)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main(arguments: Sequence[str]) -> int:
    """Prints one line of results."""
    words = dict(zip(arguments[::2], arguments[1::2], strict=True))
    threads = int(words.get("--threads", 2))
    torch.set_num_threads(threads)
    if "--serve" in words:
        serve(int(words["--serve"]))
        return 0
    found = compare(int(words.get("--repeats", 7)), threads)
    print(f"teacher scores, {_SHAPE.describe()}: in process {found['in_process_s']:.3f} s, served "
          f"{found['served_s']:.3f} s, {found['ratio']:.3f} times (goal {_GOAL}); bitwise equal")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
