"""rollout.sleep against a stub: a server is awake while it writes, and forgets its weights in between."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from opdkit.cli.main import main
from opdkit.generation import Ask, HFEngine, Sampling, VLLMRollout
from opdkit.generation.vllm_engine import open_engine
from opdkit.generation.vllm_settings import VLLMSettings
from opdkit.samplers import Ancestral
from tests.ranks import environment
from tests.serving import fake_vllm
from tests.serving.stub import stubbed
from tests.serving.test_vllm_rollout import SHORT, read_steps
from tests.tiny import save_pair, tiny_model

PLAIN = {"vocab_size": 260}
ASKS = [Ask(tuple(range(65 + i, 75 + i)), 2**62 + i, 4 + i) for i in range(6)]
# What a server is asked from one sleep to the next, repetitions left out.
A_STEP = ["wake weights", "weights", "wake kv_cache", "empty", "prove", "write", "prove", "sleep 2"]
STEPS = 12


def _once(order: list[str]) -> list[str]:
    """Without repetitions: the requests of one batch are several."""
    return [one for place, one in enumerate(order) if place == 0 or one != order[place - 1]]


def test_a_server_is_awake_while_it_writes() -> None:
    """The weights are gone after each sleep, so they are handed over even where they are the same."""
    first, second, sampling = tiny_model(0, **PLAIN), tiny_model(1, **PLAIN), Sampling(1.0, Ancestral())
    with stubbed(tiny_model(9, **PLAIN)) as (address, stub):
        contact = VLLMRollout(servers=[address], backoff=0.02).contact([address])
        engine = open_engine(VLLMSettings(contact, None, [], None, 0.1, 48, sleeps=True), first)
        assert stub.order == ["sleep 2"]
        for version, model in ((0, first), (0, first), (1, second)):
            stub.order.clear()
            engine.refresh(model, version)
            found = engine.generate(ASKS, sampling)
            engine.rest()
            engine.rest()
            assert [one.ids for one in found] == [one.ids for one in HFEngine(model, 1).generate(ASKS, sampling)]
            assert _once(stub.order) == A_STEP
        engine.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_run_is_stopped_by_a_signal_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server that the run starts: asleep between steps, gone with the run, and one of its own where it goes on."""
    monkeypatch.chdir(tmp_path)
    order = tmp_path / "order"
    monkeypatch.setenv(fake_vllm.ORDER, str(order))
    asked = [*save_pair(tmp_path), *SHORT[1:], f"steps={STEPS}", "run_dir=run"]
    sleeping = ["rollout=vllm", f"rollout.python={fake_vllm.interpreter(tmp_path)}", "rollout.sleep=true"]
    command = [sys.executable, "-m", "opdkit", "train", *asked, *sleeping]
    run = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not order.exists() or order.read_text().count("sleep 2") < 3:
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    children = psutil.Process(run.pid).children(recursive=True)
    run.send_signal(signal.SIGTERM)
    run.communicate(timeout=60)
    assert not any(child.is_running() for child in children)
    steps = len(read_steps(tmp_path / "run" / "metrics.jsonl"))
    assert 2 <= steps < STEPS
    found = _once(order.read_text().splitlines())
    assert found == ["start to sleep", "sleep 2", *A_STEP * steps]
    order.unlink()
    assert main(["train", *asked, *sleeping, "resume=true"]) == 0
    assert _once(order.read_text().splitlines()) == ["start to sleep", "sleep 2", *A_STEP * (STEPS - steps)]
    assert main(["train", *asked[:-1], "run_dir=here"]) == 0
    ours, theirs = (read_steps(tmp_path / name / "metrics.jsonl") for name in ("run", "here"))
    for one, other in zip(ours, theirs, strict=True):
        assert one["rollout/length_mean"] == other["rollout/length_mean"]
        assert one["train/loss"] == pytest.approx(other["train/loss"], rel=2e-3)
