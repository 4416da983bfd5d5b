"""Runs of one configuration come together, and only what differs is shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from opdkit.reports.configurations import ABSENT, configurations, flatten, short_names
from opdkit.reports.runs import Run, read
from tests.reports.folders import SAMPLED, TOPK, config, write_run


def run(folder: Path, settings: dict[str, object]) -> Run:
    found = read(write_run(folder, settings, [True]))
    assert isinstance(found, Run)
    return found


def test_seeds_and_paths_make_no_configuration(tmp_path: Path) -> None:
    runs = [run(tmp_path / str(seed), config(seed, run_dir=f"elsewhere/{seed}")) for seed in range(3)]
    (group,) = configurations(runs)
    assert [one.seed for one in group.runs] == ["0", "1", "2"]
    assert (group.label, group.values) == ("TopK", {})


def test_one_configuration_has_the_name_of_its_objective(tmp_path: Path) -> None:
    runs = [run(tmp_path / "a", config(objective=TOPK | {"k": 8}))]
    (near,) = configurations(runs, {"topk": TOPK, "sampled": SAMPLED})
    (far,) = configurations(runs, {"sampled": SAMPLED})
    assert (near.label, far.label) == ("topk k=8", "TopK")


def test_what_a_class_implies_is_left_out(tmp_path: Path) -> None:
    settings = [config(objective=TOPK), config(objective=TOPK | {"k": 8}), config(objective=SAMPLED)]
    groups = configurations([run(tmp_path / str(n), one) for n, one in enumerate(settings)])
    # gamma and support_from follow from the class; k does not.
    assert [group.values for group in groups] == [
        {"objective": "SampledToken", "k": ABSENT},
        {"objective": "TopK", "k": "8"},
        {"objective": "TopK", "k": "32"},
    ]
    assert [group.label for group in groups] == ["SampledToken", "TopK k=8", "TopK k=32"]


def test_a_key_that_only_some_have_is_shown_where_no_class_says_it(tmp_path: Path) -> None:
    groups = configurations([run(tmp_path / "a", config()), run(tmp_path / "b", config(extra=1))])
    assert [group.values for group in groups] == [{"extra": ABSENT}, {"extra": "1"}]
    assert groups[0].label == "the rest"


def test_one_and_one_point_zero_are_the_same() -> None:
    assert flatten({"a": {"b": 1.0}, "seed": 3}) == {"a.b": 1} == flatten({"a": {"b": 1}, "seed": 4})


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["optim.lr", "objective.k"], ["lr", "k"]),
        (["sampler._target_", "benchmark.sampler._target_"], ["sampler", "benchmark.sampler"]),
        (["model.path", "teacher.path"], ["model.path", "teacher.path"]),
    ],
)
def test_names_are_short_and_distinct(keys: list[str], names: list[str]) -> None:
    assert list(short_names(keys).values()) == names
