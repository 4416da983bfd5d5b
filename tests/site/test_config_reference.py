"""The generated reference knows every key with its type, default and meaning."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from opdkit.config.location import conf_dir

FOLDER = Path(__file__).resolve().parents[2] / "scripts" / "site"


@pytest.fixture(name="reference", scope="module")
def imported() -> Iterator[ModuleType]:
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("config_reference")
    finally:
        sys.path.remove(str(FOLDER))


def test_every_key_has_a_meaning_and_a_type(reference: ModuleType) -> None:
    files = [conf_dir() / f"{root}.yaml" for root in reference.ROOTS] + sorted(conf_dir().glob("*/**/*.yaml"))
    keys = [(str(f.relative_to(conf_dir())), key) for f in files for key in reference.keys(f)]
    keys = [(file, key) for file, key in keys if not key.name.startswith("hydra")]
    assert len(keys) > 700
    assert [(file, key.name) for file, key in keys if not reference.meaning(key)] == []
    assert [(file, key.name) for file, key in keys if not key.kind and not key.default] == []


def test_rows(reference: ModuleType) -> None:
    page = reference.root_page("train")
    assert "| `batch.micro_batch` | int | `8` | rollouts per forward pass; does not change results |" in page
    optim = reference.group_page("optim", ["optim"])
    assert "| `clip_norm` | float or null | `1.0` | global norm to clip gradients to, None for no clipping |" in optim
    assert "Builds on `adamw`" in optim


def test_types_as_a_user_reads_them(reference: ModuleType) -> None:
    assert reference.written(dict[str, float] | None) == "mapping of float or null"
    assert reference.written(tuple[int, ...]) == "list of int"
