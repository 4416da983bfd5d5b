from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from opdkit.grading import pool as pool_module
from opdkit.grading.pool import WorkerPool
from opdkit.grading.worker import CPU_SECONDS, RETRY_CPU_SECONDS, WALL_SECONDS
from opdkit.processes import child as child_module

ROOT = Path(__file__).resolve().parents[2]
HANGS = r"\sum_{k=1}^{\infty} \frac{\sin(k^2+\sqrt{k})}{k^2+\pi k+7}"


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(1)
    yield made
    made.close()


def request(answer: str, reference: str) -> dict[str, Any]:
    return {"kind": "algebra", "answer": answer, "reference": reference}


GOOD = request(r"\sqrt{16}", "4")
BAD = request(r"\sqrt{16}", "5")


def test_replies_come_in_the_order_of_the_requests(pool: WorkerPool) -> None:
    replies = pool.ask([GOOD, BAD, GOOD, BAD, BAD])
    assert [reply["correct"] for reply in replies] == [True, False, True, False, False]
    assert pool.ask([]) == []


def test_a_request_that_hangs_times_out_and_the_next_is_answered(pool: WorkerPool) -> None:
    replies = pool.ask([request(HANGS, "70"), GOOD])
    assert replies[0] == {"correct": False, "status": "timeout"}
    assert replies[1] == {"correct": True, "status": "ok"}


def test_a_request_costs_a_few_seconds_of_processor_time_at_most(pool: WorkerPool) -> None:
    pool.ask([GOOD])
    worker = psutil.Process(pool.process_ids()[0])
    before = worker.cpu_times()
    pool.ask([request(HANGS, "70")])
    after = worker.cpu_times()  # of the child too: it died of its limit
    assert (
        after.children_user + after.children_system - before.children_user - before.children_system
        < CPU_SECONDS + RETRY_CPU_SECONDS + 0.5
    )


def test_an_answer_that_keeps_hanging_is_not_tried_forever(pool: WorkerPool) -> None:
    replies = pool.ask([request(HANGS, f"{i}") for i in range(70, 100)])
    assert {reply["status"] for reply in replies} == {"timeout"}


def test_a_worker_killed_between_calls_is_replaced(pool: WorkerPool) -> None:
    pool.ask([GOOD])
    (killed,) = pool.process_ids()
    os.kill(killed, signal.SIGKILL)
    time.sleep(0.2)
    assert pool.ask([GOOD, BAD])[0]["correct"]
    assert pool.process_ids() != [killed]


def test_a_worker_killed_at_work_costs_one_verdict(pool: WorkerPool) -> None:
    pool.ask([GOOD])
    (victim,) = pool.process_ids()
    killer = threading.Timer(0.1, os.kill, (victim, signal.SIGKILL))
    killer.start()
    replies = pool.ask([request(HANGS, "70"), *[GOOD, BAD] * 30])
    killer.join()
    assert replies[0]["status"] in ("crashed", "timeout")
    assert sum(reply["status"] == "ok" for reply in replies) >= 59


def test_the_child_killed_at_work_is_replaced_by_its_worker(pool: WorkerPool) -> None:
    pool.ask([GOOD])
    (worker,) = pool.process_ids()
    for child in psutil.Process(worker).children():
        child.kill()
    replies = pool.ask([GOOD, GOOD])
    assert replies[-1]["correct"]
    assert pool.process_ids() == [worker]


def test_a_worker_that_stops_answering_is_replaced(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "_GRACE_SECONDS", 1.0 - WALL_SECONDS)  # one second in all
    pool.ask([GOOD])
    (frozen,) = pool.process_ids()
    os.kill(frozen, signal.SIGSTOP)
    assert pool.ask([GOOD])[0]["status"] == "timeout"
    monkeypatch.undo()
    assert pool.ask([GOOD])[0]["correct"]
    assert not psutil.pid_exists(frozen)


def test_an_interrupted_call_leaves_no_late_reply(pool: WorkerPool) -> None:
    pool.ask([GOOD])

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.ask([request(HANGS, f"{i}") for i in range(70, 72)])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert [reply["correct"] for reply in pool.ask([BAD, GOOD])] == [False, True]


def test_it_answers_from_other_threads(pool: WorkerPool) -> None:
    found: list[bool] = []
    threads = [threading.Thread(target=lambda: found.append(pool.ask([GOOD])[0]["correct"])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4


def test_workers_that_cannot_start_are_not_waited_for_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module.sys, "executable", "/bin/false")
    pool = WorkerPool(2)
    assert [reply["status"] for reply in pool.ask([GOOD] * 3)] == ["crashed"] * 3
    pool.close()


def test_close_leaves_no_process_and_the_pool_can_be_used_again(pool: WorkerPool) -> None:
    pool.ask([GOOD])
    family = [psutil.Process(pid) for pid in pool.process_ids()]
    family += [child for parent in family for child in parent.children()]
    assert len(family) == 2
    pool.close()
    psutil.wait_procs(family, timeout=5)
    assert not any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in family)
    assert pool.ask([GOOD])[0]["correct"]


SCRIPT = """
import sys, time
from opdkit.grading.grade import grade_mathematics, _pools
grade_mathematics([("\\\\boxed{\\\\sqrt{16}}", "4")])
print(*_pools.get().process_ids(), flush=True)
time.sleep(float(sys.argv[1]))
"""


def _run(seconds: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, seconds],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("kill", [False, True])
def test_workers_are_gone_when_their_owner_is(kill: bool) -> None:
    with _run("60" if kill else "0") as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        assert kill is False or psutil.pid_exists(worker)
        if kill:
            owner.kill()
    deadline = time.monotonic() + 15
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_worker_loads_no_torch_and_gets_no_secrets(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "a secret")
    pool.ask([GOOD])
    worker = psutil.Process(pool.process_ids()[0])
    assert "WANDB_API_KEY" not in worker.environ()
    assert not [region.path for region in worker.memory_maps() if "libtorch" in region.path]
    code = "import sys, opdkit.grading.worker, opdkit.grading.equivalence; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
