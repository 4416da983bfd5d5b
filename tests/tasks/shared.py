"""The folder of data for tests that is no part of the project; tests that read it skip where it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_file(name: str) -> Path:
    """A file below `data` of the folder OPDKIT_SHARED, or of `shared` beside the checkout."""
    default = Path(__file__).resolve().parents[3] / "shared"
    path = Path(os.environ.get("OPDKIT_SHARED", default)) / "data" / name
    if not path.exists():
        pytest.skip(f"{name} is not here")
    return path
