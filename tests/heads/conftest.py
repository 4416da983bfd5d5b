from __future__ import annotations

import pytest

from opdkit.heads import rows, tiles
from tests.heads.cases import KINDS, Kind


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(params=["one piece", "many pieces"])
def pieces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk over rows and vocabulary in one piece, and in many with ragged ends."""
    if request.param == "many pieces":
        monkeypatch.setattr(tiles, "_ALIVE_CPU", 12)
        monkeypatch.setattr(tiles, "_NARROWEST", 5)
        monkeypatch.setattr(tiles, "_KEPT_CPU", 50)
        monkeypatch.setattr(tiles, "_KEPT_TILE_CPU", 10)
        monkeypatch.setattr(rows, "_GATHERED_CPU", 25)
