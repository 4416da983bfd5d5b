"""What opdkit changes in vLLM's processes, with stand-ins for vLLM's modules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import opdkit.generation.vllm_server as package

CONDITION = "vllm.distributed.device_communicators.shm_broadcast"


class SpinCondition:
    """Waits for a message: spins for `busy_loop_s` seconds, then sleeps."""

    def __init__(self, is_reader: bool, busy_loop_s: float = 1) -> None:
        self.is_reader, self.busy_loop_s = is_reader, busy_loop_s


class Other:
    """As another version may have it."""

    def __init__(self, is_reader: bool) -> None:
        self.is_reader = is_reader


def waiting(monkeypatch: pytest.MonkeyPatch, condition: Any, *, cpu: bool) -> Any:
    """A condition made after launch.py's change."""
    known = type("SpinCondition", (condition,), {}) if condition else None
    platform = SimpleNamespace(current_platform=SimpleNamespace(is_cpu=lambda: cpu))
    monkeypatch.setitem(sys.modules, "vllm", ModuleType("vllm"))
    monkeypatch.setitem(sys.modules, "vllm.platforms", platform)  # pyright: ignore[reportArgumentType]
    for name in ("vllm.distributed", "vllm.distributed.device_communicators"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, CONDITION, SimpleNamespace(**({"SpinCondition": known} if known else {})))  # pyright: ignore
    place = Path(next(iter(package.__path__))) / "launch.py"
    spec = importlib.util.spec_from_file_location("launch", place)
    assert spec is not None
    assert spec.loader is not None
    launch = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(launch)
    launch.wait_quietly()
    return known and known(is_reader=True)


def test_on_a_cpu_processes_sleep_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    found = waiting(monkeypatch, SpinCondition, cpu=True)
    assert found.is_reader
    assert found.busy_loop_s < 0.01


def test_elsewhere_they_wait_as_vllm_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert waiting(monkeypatch, SpinCondition, cpu=False).busy_loop_s == 1


@pytest.mark.parametrize("condition", [Other, None])
def test_a_version_without_the_setting_starts(monkeypatch: pytest.MonkeyPatch, condition: Any) -> None:
    made = waiting(monkeypatch, condition, cpu=True)
    assert made is None or made.is_reader
