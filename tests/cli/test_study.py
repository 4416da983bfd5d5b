"""`opdkit study` through the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit
from tests.cli.test_bad_input import check_line, listing, surroundings

SMALL = ["study.seeds=[0,1]", "study.horizons=[1,2,3]", "study.long_horizons=[1,4,8]", "study.fit_from=4"]
TYPED: list[tuple[str, list[str]]] = [
    ("study study=tabula", ["study=tabula: no such option", r"did you mean tabular\?"]),
    ("study study.gammas=[0,2]", ["study.gammas=2: each must be between 0 and 1"]),
    ("study study.gammas=[0,x]", [r"study.gammas=.*: must be a list, each a number"]),
    ("study study.seeds=[]", [r"study.seeds=\[\]: must contain at least one value"]),
    ("study study.horizons=[2,11]", [r"study.horizons=11: 3\^11 responses", "100000", "at most 10"]),
    ("study study.gamma=[0,1]", ["no key named gamma", r"did you mean gammas\?"]),
    ("study seed=1", ["seed=1: no key named seed"]),
    ("study resume=true", ["resume=true: which run"]),
    ("study resume=true run_dir=empty", ["resume=true", "run_dir=empty contains no study"]),
    ("study run_dir=notes.txt", ["run_dir=notes.txt", "is a file"]),
    ("study study.seeds=[0],[]", ["several values"]),
    ("train study=tabular", ["no key named study"]),
]


@pytest.mark.parametrize(("typed", "patterns"), TYPED, ids=[typed for typed, _ in TYPED])
def test_bad_input(typed: str, patterns: list[str], opdkit: Opdkit, tmp_path: Path) -> None:
    before = surroundings(tmp_path)
    told = opdkit(*typed.split(" "))
    assert told.status == 2, told
    check_line(told.err, patterns)
    assert listing(tmp_path) == before


def test_a_study(opdkit: Opdkit, tmp_path: Path) -> None:
    told = opdkit("study", "study=tabular", *SMALL, "run_dir=mine")
    assert (told.status, told.err) == (0, "")
    assert "reproduced" in told.out
    left = {path.name for path in (tmp_path / "mine").iterdir()}
    assert {"config.yaml", "env.json", "findings.md", "summary.json", "variance.png", "variance.svg"} <= left
    assert {"worlds.csv", "exponents.csv", "exponents.md", "pieces"} <= left
    page = (tmp_path / "mine" / "findings.md").read_text(encoding="utf-8")
    assert "`opdkit study study=tabular 'study.seeds=[0,1]'" in page
    assert "run_dir" not in page
    again = opdkit("study", "study=tabular", *SMALL, "run_dir=mine")
    assert again.status == 2
    check_line(again.err, ["run_dir=mine: contains a finished study"])


def test_ls_names_the_studies(opdkit: Opdkit) -> None:
    assert "tabular" in opdkit("ls", "study").out
