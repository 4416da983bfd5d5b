"""The recorded answers of the embedded pair are those that it gives, and stand in for nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from opdkit.cli import train
from opdkit.cli.arguments import read
from opdkit.cli.single import single_job
from opdkit.evaluation import Asking, Benchmark, evaluate_on, lay_recorded
from opdkit.evaluation.recorded import MODELS, RECORDED
from opdkit.generation import HFRollout
from opdkit.jsonl import read_rows
from opdkit.models import LanguageModel, ModelSpec, load


@pytest.fixture(scope="module")
def benchmark() -> Benchmark:
    return train.prepare(*single_job(read("train", []), "a test")).experiment.benchmark


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> LanguageModel:
    return load(ModelSpec(request.param))


def asking(model: LanguageModel, folder: Path, seed: int = 0, longest: int = 128) -> Asking:
    return Asking(HFRollout(160, longest, 64).open(model), model, longest, seed, folder, lambda text: None)


def test_they_are_taken_for_any_seed_and_nothing_is_asked(
    model: LanguageModel, benchmark: Benchmark, tmp_path: Path
) -> None:
    for seed in (0, 7):
        asked = replace(asking(model, tmp_path / str(seed), seed), engine=None)  # type: ignore[arg-type]
        assert lay_recorded(asked, benchmark)
        assert evaluate_on(asked, benchmark)["n_problems"] == 256


def test_they_are_what_the_model_answers(model: LanguageModel, benchmark: Benchmark, tmp_path: Path) -> None:
    evaluate_on(asking(model, tmp_path), replace(benchmark, limit=8))
    fresh, _ = read_rows(tmp_path / "chain_sum.responses.jsonl")
    assert fresh == read_rows(RECORDED / model.name / "chain_sum.responses.jsonl")[0][:8]


@pytest.mark.slow
def test_all_of_them(model: LanguageModel, benchmark: Benchmark, tmp_path: Path) -> None:
    evaluate_on(asking(model, tmp_path), benchmark)
    fresh, _ = read_rows(tmp_path / "chain_sum.responses.jsonl")
    assert fresh == read_rows(RECORDED / model.name / "chain_sum.responses.jsonl")[0]


def test_they_stand_in_for_nothing_else(model: LanguageModel, benchmark: Benchmark, tmp_path: Path) -> None:
    asked = asking(model, tmp_path)
    other = replace(model, name="runs/mine/final")
    assert not lay_recorded(replace(asked, renderer=other), benchmark)
    assert not lay_recorded(replace(asked, max_prompt_tokens=64), benchmark)
    assert not lay_recorded(asked, replace(benchmark, limit=8))
    assert not lay_recorded(asked, replace(benchmark, max_new_tokens=32))
    assert not lay_recorded(asked, replace(benchmark, n_samples=2))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "chain_sum.responses.jsonl").write_text(json.dumps({}) + "\n")
    assert not lay_recorded(asked, benchmark)
