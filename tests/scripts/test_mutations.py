"""The changes that tests must notice can still be made."""

from __future__ import annotations

import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_each_change_has_one_place_and_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    module: Any = importlib.import_module("mutations")
    mutations = list(module.mutations())
    assert len(mutations) >= 60
    for mutation in mutations:
        assert (ROOT / mutation.file).read_text(encoding="utf-8").count(mutation.old) == 1, mutation
        assert mutation.new != mutation.old
        assert all((ROOT / path).exists() for path in mutation.tests), mutation
    assert max(Counter((m.file, m.old, m.new) for m in mutations).values()) == 1
