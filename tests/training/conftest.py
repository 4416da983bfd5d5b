from __future__ import annotations

from pathlib import Path

import pytest
from accelerate import Accelerator

from opdkit.data.micro_batches import MicroBatch
from opdkit.training.collect import CollectSettings
from opdkit.training.optimizer import AdamW
from opdkit.training.policy import Policy
from opdkit.training.update import ScoredBatch
from tests.tiny import save_pair, tiny_model
from tests.training.episodes import collect, episodes


@pytest.fixture
def policy() -> Policy:
    model = tiny_model(0)
    return Policy.of(model, AdamW(lr=1e-2), Accelerator(cpu=True), 1.0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pair")
    save_pair(folder)
    return folder


@pytest.fixture
def collected(policy: Policy, pair: Path, request: pytest.FixtureRequest) -> ScoredBatch:
    """The parameter is the number of updates, or "stale": one update, of weights that may be newer than those that
    wrote."""
    stale = request.param == "stale"
    settings = CollectSettings(0, None, 1 if stale else request.param, 1, MicroBatch(4), stale=stale)
    return collect(policy, pair, episodes(policy), settings)
