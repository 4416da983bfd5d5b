"""Text games through the real command line: someone's own, and what bad input gets."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "environments.md"


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[Path]:
    """The files that the document shows, under tmp_path: someone's module, and two yaml files that name it."""
    blocks = re.findall(
        r"^```(?:python|yaml)\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    for name, text in zip(
        ("own_environment.py", "mine/task/lamp.yaml", "mine/benchmark/lamp.yaml"), blocks, strict=True
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    sys.modules.pop("own_environment", None)


def test_evaluated_through_the_command(mine: Path, opdkit: Opdkit) -> None:
    told = opdkit("eval", "--config-dir=mine", "benchmark=lamp", "+benchmark.limit=3", "run_dir=run")
    assert told.status == 0, told
    gold = json.loads((mine / "run/evals/lamp.gold.json").read_text())
    assert (gold["success"], gold["n_crashed"], gold["steps_mean"]) == (1.0, 0, 2.0)
    assert json.loads((mine / "run/evals/lamp.json").read_text())["n_played"] == 3


def test_trained_through_the_command(mine: Path, opdkit: Opdkit) -> None:
    told = opdkit(
        "train", "--config-dir=mine", "task=lamp", "rollout.max_prompt_tokens=200", "steps=1",
        "rollout.max_new_tokens=8", "batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=4", "logger=jsonl",
        "benchmark=lamp", "+benchmark.limit=2", "run_dir=run",
    )  # fmt: skip
    assert told.status == 0, told
    first = json.loads((mine / "run/metrics.jsonl").read_text().splitlines()[1])
    assert first["rollout/crashed_episodes"] == 0
    assert 2 <= first["rollout/turns_mean"] <= 10


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("task.environment._target_=own_environment.Lmp", "task.environment._target_: own_environment has no Lmp (did"),
        ("+task.environment.sise=3", "task.environment.sise: no such key in Lamp; allowed: size (did you"),
        ("task.count=0", "task.start=0, count=0; allowed"),
    ],
)
def test_bad_input_is_one_line(mine: Path, opdkit: Opdkit, override: str, said: str) -> None:
    told = opdkit("train", "--config-dir=mine", "task=lamp", override, "run_dir=run")
    assert told.status == 2
    assert said in told.err
    assert told.err.count("\n") == 1
    assert not (mine / "run").exists()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("eval benchmark=textworld_express benchmark.source.games=[coins]", "games: there is no 'coins' (did you mean"),
        ("eval benchmark=textworld_express benchmark.source.fold=tests", "there is no 'tests' (did you mean test?)"),
        ("train task=textworld_express task.fold=valid", "task.fold: there is no 'valid'"),
        ("eval benchmark=scienceworld benchmark.source.games=[bol]", "there is no 'bol' (did you mean boil?)"),
        ("eval benchmark=scienceworld benchmark.source.fold=tst", "there is no 'tst' (did you mean test?)"),
        ("train task=scienceworld task.fold=tst", "task.fold: there is no 'tst' (did you mean test?)"),
        ("eval benchmark=alfworld task.path=nowhere", "path=nowhere: no such folder"),
        ("eval benchmark=alfworld benchmark.source.fold=valid", "there is no 'valid' (did you mean valid_seen?)"),
        ("train task=alfworld task.path=nowhere", "path=nowhere: no such folder"),
        ("eval benchmark=textworld_express task.path=games", "benchmark does not set path yet"),
        (
            "eval benchmark=textworld_express +benchmark.path=games",
            "the games of textworld_express come with their package",
        ),
        ("eval benchmark=alfworld task.path=a benchmark.path=b", "benchmark.path: given twice"),
        (
            "eval benchmark=textworld_express benchmark.baselines=[golden]",
            "must be a list, each one of random, gold",
        ),
    ],
)
def test_games_that_are_not_there(opdkit: Opdkit, typed: str, said: str) -> None:
    refused(opdkit, typed, said)


@pytest.mark.parametrize(
    ("typed", "extra"),
    [
        ("eval benchmark=textworld_express", "textworld-express"),
        ("train task=textworld_express rollout.max_prompt_tokens=400", "textworld-express"),
        ("eval benchmark=scienceworld", "scienceworld"),
        ("eval benchmark=alfworld task.path=.", "alfworld"),
    ],
)
def test_an_extra_that_is_not_installed(
    opdkit: Opdkit, typed: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    games = ("textworld_express", "scienceworld", "alfworld")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in games else found(name, *a))
    refused(opdkit, typed, f"{extra} is not installed: pip install 'opdkit[{extra}]'")


@pytest.mark.parametrize("name", ["textworld_express", "scienceworld"])
def test_java_that_is_not_there(opdkit: Opdkit, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(shutil, "which", lambda *_: None)
    refused(opdkit, f"eval benchmark={name}", "needs Java and there is no java on PATH")


def test_a_folder_without_games(opdkit: Opdkit, tmp_path: Path) -> None:
    if importlib.util.find_spec("alfworld") is None:
        pytest.skip("alfworld is not installed")
    (tmp_path / "empty").mkdir()
    refused(opdkit, "eval benchmark=alfworld task.path=empty", "path=empty: no game (game.tw-pddl beside", {"empty"})


def refused(opdkit: Opdkit, typed: str, said: str, there: set[str] | frozenset[str] = frozenset()) -> None:
    """Exit 2, one line that says `said`, and nothing made."""
    told = opdkit(*typed.split(" "))
    assert (told.status, told.err.count("\n")) == (2, 1), told
    assert told.err.startswith("opdkit: error: ")
    assert said in told.err
    assert {path.name for path in Path.cwd().iterdir()} == there
