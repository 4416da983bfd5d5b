"""The jobs of a sweep are those that Hydra makes, in its order."""

from __future__ import annotations

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from opdkit.config.overrides import jobs, parse
from opdkit.errors import UserError

VALUES = st.sampled_from(
    ["1", "1,2", "a,b,c", "range(3)", "'x,y'", "[1,2]", "[1],[2]", "choice(x,y)", "null", "1e-3,1e-4"]
)


@given(st.dictionaries(st.sampled_from(["a", "b.c", "+d", "e"]), VALUES))
def test_jobs_are_those_of_hydras_sweeper(typed: dict[str, str]) -> None:
    texts = [f"{key}={value}" for key, value in typed.items()]
    parsed = OverridesParser.create().parse_overrides(texts)
    assert jobs(texts) == BasicSweeper.split_arguments(parsed, None)[0]


def test_a_later_value_of_a_search_wins() -> None:
    assert jobs(["seed=0,1,2", "k=2,3", "seed=5"]) == [["seed=5", "k=2"], ["seed=5", "k=3"]]


def test_an_interval_is_not_a_grid() -> None:
    with pytest.raises(UserError, match="a grid takes no intervals"):
        jobs(["a=interval(0,1)"])


@pytest.mark.parametrize("text", ["a", "a=[1", "~a", "-x", "=1", "a=b{"])
def test_what_is_no_override(text: str) -> None:
    with pytest.raises(UserError):
        parse([text])
