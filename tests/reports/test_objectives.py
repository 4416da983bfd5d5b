"""An objective's name is that of the option it was composed from, for every option that ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from opdkit.config.catalogue import objectives
from opdkit.config.compose import Source, compose, resolve
from opdkit.config.location import conf_dir, options
from opdkit.reports.configurations import configurations, flatten
from opdkit.reports.objectives import by_name, nearest
from opdkit.reports.runs import Run, read
from tests.reports.folders import write_run

KNOWN = {name: flatten({"objective": values}) for name, values in objectives().items()}


def flat(*overrides: str) -> dict[str, Any]:
    return flatten(resolve(compose(Source("train"), overrides)))


def objective(*overrides: str) -> dict[str, Any]:
    return {key: value for key, value in flat(*overrides).items() if key.startswith("objective.")}


@pytest.mark.parametrize("name", options("objective", (conf_dir(),)))
def test_every_option_is_found_without_hydra(name: str) -> None:
    assert nearest(objective(f"objective={name}"), KNOWN) == (name, [])


def test_what_departs_is_kept_and_what_is_no_option_is_left_alone() -> None:
    three = [flat("objective=topk", "k=8"), flat("objective=sampled"), flat("objective=topk")]
    told = by_name(three, KNOWN)
    assert [one["objective"] for one in told] == ["topk", "sampled", "topk"]
    assert [one["objective.k"] for one in told] == [8, None, 32]
    assert not any(key.startswith("objective.tail") for one in told for key in one)
    discounts = [flat("objective=sampled", f"objective.discount={d}") for d in (0.0, 0.5)]
    assert by_name(discounts, KNOWN) == discounts
    odd = [flat("objective=topk"), {"objective._target_": "mine.Objective", "objective.k": 3}]
    assert by_name(odd, KNOWN) == odd


def test_labels(tmp_path: Path) -> None:
    made: list[Run] = []
    for name in ("topk", "sampled", "gkd_forward"):
        found = read(write_run(tmp_path / name, resolve(compose(Source("train"), [f"objective={name}"])), [True]))
        assert isinstance(found, Run)
        made.append(found)
    groups = configurations(made, objectives())
    assert [one.label for one in groups] == ["gkd_forward", "sampled", "topk"]
    assert [one.values for one in groups] == [{"objective": one.label} for one in groups]
