"""The scripts in examples/ run as they are told to be run, a few steps of them."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("objective", ["topk --k 16", "sampled"])
def test_a_plain_loop(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    typed = f"plain_loop.py --objective {objective} --steps 2 --prompts 2"
    monkeypatch.setattr(sys, "argv", typed.split())
    losses = script("plain_loop").main()
    assert len(losses) == 2
    assert all(map(math.isfinite, losses))


@pytest.mark.peer
@pytest.mark.filterwarnings("default")
def test_trl(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl")
    monkeypatch.setattr(sys, "argv", ["trl_gkd.py", "--k", "16", "--steps", "2"])
    losses = script("trl_gkd").main()
    assert len(losses) == 2
    assert 0.0 < losses[0] < 1.0
