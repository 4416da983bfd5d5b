"""The tabular study as a whole, on two worlds."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from opdkit.errors import UserError
from opdkit.study.tabular import TabularStudy
from opdkit.study.tabular.findings import Results, claims, tables
from opdkit.study.tabular.measure import LONG, measure, unpack

STUDY = TabularStudy(3, [1, 2, 4], [1, 4, 32, 64], [0.0, 0.5, 1.0], [0, 1], 32, 1.0)


@pytest.fixture(scope="module")
def results() -> Results:
    grid = STUDY.grid
    return Results(grid, STUDY.seeds, [measure(seed, grid) for seed in STUDY.seeds], STUDY.fit_from)


def test_a_world_depends_on_its_seed_alone(results: Results) -> None:
    again = measure(1, STUDY.grid)
    assert all(torch.equal(again[name], value) for name, value in results.pieces[1].items())
    assert not torch.equal(results.pieces[0][f"{LONG}/variance"], results.pieces[1][f"{LONG}/variance"])


def test_verdicts(results: Results) -> None:
    verdicts = [claim.verdict for claim in claims(results)]
    assert verdicts == ["holds", "holds", "reproduced", "reproduced", "reproduced", "reproduced", "holds"]


@pytest.mark.parametrize(
    ("key", "change", "claim"),
    [
        ("check/finite_difference", lambda v: v + 1e-6, 0),
        ("check/recursion", lambda v: v + 1e-6, 1),
        (f"{LONG}/variance", lambda v: v * 1e6, 2),
        (f"{LONG}/variance", lambda v: v * torch.tensor([[1.0], [1], [1], [16]]), 3),
        (f"{LONG}/variance", lambda v: torch.ones_like(v), 4),
        (f"{LONG}/bias", lambda v: v + 0.1, 5),
        (f"{LONG}/variance", lambda v: v * 1e6, 6),
    ],
)
def test_a_verdict_can_be_no(results: Results, key: str, change, claim: int) -> None:
    """Numbers that break one claim's rule, in every world."""
    broken = replace(results, pieces=[{**piece, key: change(piece[key])} for piece in results.pieces])
    assert claims(results)[claim].verdict in ("holds", "reproduced")
    assert claims(broken)[claim].verdict in ("fails", "not reproduced")


def test_tables_hold_every_world(results: Results) -> None:
    found = tables(results)
    horizons, gammas, worlds = 2 * len(STUDY.horizons) + len(STUDY.long_horizons), 3, 2
    assert len(found["worlds"].rows) == horizons * gammas * worlds
    assert len(found["by_horizon"].rows) == horizons * gammas
    by_batch = found["least_error"].rows
    assert by_batch[-1][1] == 0.0  # one response: the least variance wins
    assert by_batch[1][-1] == 1.0  # 65,536 responses: the unbiased one wins


def test_g_seq_has_no_bias(results: Results) -> None:
    world = unpack(results.pieces[0], LONG)
    assert float((world.bias[:, 2] / world.gradient).max()) < 1e-10
    assert float((world.bias[1:, 0] / world.gradient[1:]).min()) > 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gammas": [0.0, 1.5]}, "study.gammas=1.5: each must be between 0 and 1"),
        ({"gammas": [0.0, float("nan"), 1.0]}, "study.gammas=nan: each"),
        ({"gammas": [0.5, 1.0]}, "a list that includes 0 and 1"),
        ({"seeds": []}, r"study.seeds=\[\]: must contain at least one value"),
        ({"seeds": [3, 3]}, "contains a value twice"),
        ({"seeds": [-1]}, "study.seeds=-1: each must be between 0 and"),
        ({"horizons": [4, 12]}, r"study.horizons=12: 3\^12 responses .* exceed the limit of 100000 .* at most 10"),
        ({"horizons": [2, 1]}, "increasing positive integers"),
        ({"horizons": [3]}, "at least two"),
        ({"vocabulary": 1}, "study.vocabulary=1: must be at least 2"),
        ({"vocabulary": 100_001}, "study.horizons=1: .* study.vocabulary"),
        ({"fit_from": 64}, "study.fit_from=64"),
        ({"long_horizons": [1, 8192]}, "at most 4096"),
        ({"teacher_distance": 0.0}, "study.teacher_distance=0.0: must be above 0"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(STUDY, **change)
