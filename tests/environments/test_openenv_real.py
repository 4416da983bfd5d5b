"""Real servers of OpenEnv on this machine: an environment of its own classes, and one of tools over MCP.

OPDKIT_OPENENV_PYTHON=ENV/bin/python pytest -m slow tests/environments/test_openenv_real.py, where ENV/bin/pip install
openenv has been run.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opdkit.environments import EnvironmentPool, Observation, OpenEnv, StepResult
from opdkit.environments.openenv_fields import fetched
from opdkit.errors import UserError
from tests.cli.conftest import Opdkit, opdkit  # noqa: F401
from tests.environments.openenv_stub import training
from tests.serving.running import free_port

PYTHON = os.environ.get("OPDKIT_OPENENV_PYTHON")
SERVER = Path(__file__).with_name("openenv_server.py")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PYTHON is None, reason="OPDKIT_OPENENV_PYTHON names no environment with openenv"),
]


@contextmanager
def serving(kind: str) -> Iterator[str]:
    assert PYTHON is not None
    port = free_port()
    with subprocess.Popen([PYTHON, str(SERVER), kind, str(port)]) as process:
        try:
            yield _awaited(process, f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def _awaited(process: subprocess.Popen[bytes], address: str) -> str:
    ends = time.monotonic() + 300
    while time.monotonic() < ends:
        assert process.poll() is None
        try:
            fetched(address, "/health", "server")
            return address
        except UserError:
            time.sleep(0.5)
    raise TimeoutError(address)


@pytest.fixture(scope="module")
def hints() -> Iterator[str]:
    with serving("hints") as address:
        yield address


def test_an_episode(hints: str) -> None:
    with EnvironmentPool(OpenEnv(server=hints, reset={"most": 6}), 2) as pool:
        assert pool.reset([(0, 4), (1, 2)]) == [Observation("A number from 1 to 6?")] * 2
        high, low = pool.step([(0, "3"), (1, "3")])
        assert high == StepResult(Observation("higher"), 0.0, False, 0.0, False, True)
        assert low == StepResult(Observation("lower"), 0.0, False, 0.0, False, True)
        (odd,) = pool.step([(0, "four")])
        assert odd == StepResult(Observation("This is no integer."), 0.0, False, 0.0, False, False)
        (end,) = pool.step([(0, "4")])
        assert end == StepResult(Observation("yes"), 1.0, True, 1.0, True, True)


def test_tools_over_mcp() -> None:
    with serving("tools") as address, EnvironmentPool(OpenEnv(server=address), 1) as pool:
        (opening,) = pool.reset([(0, 0)])
        assert isinstance(opening, Observation)
        assert '"name": "add", "description": "The sum."' in opening.text
        (sum_,) = pool.step([(0, '<tool_call>{"name": "add", "arguments": {"a": 2, "b": 5}}</tool_call>')])
        assert sum_ == StepResult(Observation("<tool_response>\n7\n</tool_response>"), 0.0, False, 0.0, False, True)
        (wrong,) = pool.step([(0, '<tool_call>{"name": "sub", "arguments": {}}</tool_call>')])
        assert isinstance(wrong, StepResult)
        assert "sub" in wrong.observation.text
        assert not wrong.valid


def test_trained_on_and_evaluated(hints: str, opdkit: Opdkit, tmp_path: Path) -> None:  # noqa: F811
    told = opdkit(*training(hints, turns=3), "steps=2", "batch.prompts=4", "batch.mini_batch=4")
    assert told.status == 0, told
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["rollout/crashed_episodes"] for row in rows if "train/loss" in row] == [0, 0]
    found = json.loads((tmp_path / "run/evals/openenv.json").read_text())
    assert (found["n_played"], found["n_crashed"]) == (2, 0)
