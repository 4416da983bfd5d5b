"""Verdicts follow their rules, runs find their cases by configuration, and the planted teacher differs in one thing."""

from __future__ import annotations

import importlib
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from opdkit.config.compose import Source, compose, resolve
from opdkit.reports.configurations import flatten
from opdkit.reports.runs import Curve, Evaluation, Run

ROOT = Path(__file__).parents[2]
COUNTER = count()


@pytest.fixture(scope="module")
def scripts() -> Iterator[Mapping[str, ModuleType]]:
    """The scripts import each other as files of one folder."""
    folders = [str(ROOT / "scripts" / name) for name in ("assets", "results")]
    sys.path[:0] = folders
    names = ("paper_ablations", "paper_numbers", "paper_figures", "paper_page", "plant_mismatch")
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        for folder in folders:
            sys.path.remove(folder)
        for name in names:
            sys.modules.pop(name, None)


def run(config: Mapping[str, Any], seed: int, accuracy: float, variance: float = 1.0) -> Run:
    steps = np.arange(1.0, 7.0)
    values = {
        "train/grad_variance": np.full(6, variance), "rollout/reward_mean": steps / 10,
        "time/rollout_s": np.full(6, 1.0), "time/teacher_s": np.full(6, 0.5), "time/update_s": np.full(6, 0.5),
    }  # fmt: skip
    found = {"before": 0.4, "after": accuracy, "teacher": 1.0}
    return Run(
        folder=Path("x"), name=f"run {next(COUNTER)}", config={**config, "seed": seed}, environment={},
        curves={name: Curve(steps, value) for name, value in values.items()}, samples=(), diagnostics=(),
        benchmark="sums", evaluations={when: Evaluation({"pass@1": value}) for when, value in found.items()},
        seconds=12.0, remarks=(),
    )  # fmt: skip


def settings(*overrides: str) -> dict[str, Any]:
    return resolve(compose(Source("train"), ["experiment=ablation_k", *overrides]))


def cases(scripts: Mapping[str, ModuleType], runs: list[Run], name: str) -> tuple[Any, dict[str, Any], list[Any]]:
    ablation = next(one for one in scripts["paper_ablations"].ABLATIONS if one.name == name)
    numbers = scripts["paper_numbers"]
    found = numbers.find(ablation, runs, {one.name: flatten(one.config) for one in runs})
    by_name = {one.case.name: one for one in found}
    return ablation, by_name, numbers.differences(ablation, by_name)


def test_runs_find_their_cases_wherever_they_were_made(scripts: Mapping[str, ModuleType]) -> None:
    runs = [run(settings("k=32"), seed, 0.8) for seed in range(3)] + [run(settings("k=2"), 0, 0.5)]
    _, found, _ = cases(scripts, runs, "k")
    assert {name: len(one.runs) for name, one in found.items()} == {
        "K = 32": 3, "K = 48": 0, "K = 16": 0, "K = 8": 0, "K = 4": 0, "K = 2": 1,
    }  # fmt: skip
    _, found, _ = cases(scripts, runs, "renormalisation")
    assert len(found["topk"].runs) == 3
    other = [run({**settings("k=32"), "steps": 60}, 0, 0.8)]
    assert not cases(scripts, other, "k")[1]["K = 32"].runs


@pytest.mark.parametrize(
    ("small", "verdict"),
    [
        ((0.5, 0.52, 0.49), "reproduced"),
        ((0.9, 0.92, 0.9), "not reproduced"),
        ((0.801, 0.81, 0.83), "not reproduced"),
        ((0.5, 0.9, 0.7), "not testable"),
        ((0.5, 0.5), "not run"),
    ],
)
def test_better(scripts: Mapping[str, ModuleType], small: tuple[float, ...], verdict: str) -> None:
    runs = [run(settings("sampler.p=0.9"), seed, 0.8 + seed / 100) for seed in range(3)]
    runs += [run(settings("sampler.p=1.0"), seed, value) for seed, value in enumerate(small)]
    ablation, found, told = cases(scripts, runs, "top_p")
    claim = next(one for one in ablation.claims if one.rule == "better")
    assert scripts["paper_numbers"].judge(claim, found, told).verdict == verdict


def jolted(config: Mapping[str, Any], seed: int, fall: float, spike: float) -> Run:
    """A run whose reward rises to .5 and falls by `fall` for good, and whose gradient norm is once `spike` times 1."""
    plain = run(config, seed, 0.8)
    steps = np.arange(1.0, 21.0)
    reward = np.where(steps <= 10, 0.5, 0.5 - fall)
    norm = np.where(steps == 7, spike, 1.0)
    curves = {"rollout/reward_mean": Curve(steps, reward), "train/grad_norm": Curve(steps, norm)}
    return replace(plain, curves={**plain.curves, **curves})


@pytest.mark.parametrize(
    ("small", "verdict"),
    [
        (((0.3, 2.05), (0.31, 1.95), (0.29, 2.05)), "reproduced"),
        (((0.1, 50.0), (0.1, 55.0), (0.1, 60.0)), "reproduced"),
        (((0.0, 2.0), (0.01, 2.0), (0.005, 2.1)), "not reproduced"),
        (((0.0, 50.0), (0.01, 55.0), (0.005, 60.0)), "not testable"),
        (((0.3, 2.0), (0.0, 2.0), (0.1, 2.0)), "not testable"),
        (((0.3, 2.0), (0.3, 2.0)), "not run"),
    ],
)
def test_unstable(scripts: Mapping[str, ModuleType], small: tuple[tuple[float, float], ...], verdict: str) -> None:
    runs = [jolted(settings("k=32"), seed, 0.1 + seed / 1000, 2.0 + seed / 100) for seed in range(3)]
    runs += [jolted(settings("k=2"), seed, *values) for seed, values in enumerate(small)]
    ablation, found, told = cases(scripts, runs, "k")
    assert scripts["paper_numbers"].falls(found["K = 32"])["0"] == pytest.approx(10.0)
    assert scripts["paper_numbers"].spikes(found["K = 32"])["0"] == pytest.approx(np.log10(2.0))
    claim = next(one for one in ablation.claims if one.rule == "unstable")
    assert scripts["paper_numbers"].judge(claim, found, told).verdict == verdict


@pytest.mark.parametrize(
    ("forty_eight", "verdict"),
    [((0.8, 0.82, 0.81), "reproduced"), ((0.6, 0.61, 0.625), "not reproduced"), ((0.6, 0.9, 0.8), "not testable")],
)
def test_alike(scripts: Mapping[str, ModuleType], forty_eight: tuple[float, ...], verdict: str) -> None:
    runs = [run(settings("k=32"), seed, 0.8 + seed / 100) for seed in range(3)]
    runs += [run(settings("k=48"), seed, value) for seed, value in enumerate(forty_eight)]
    ablation, found, told = cases(scripts, runs, "k")
    claim = next(one for one in ablation.claims if one.rule == "alike")
    assert scripts["paper_numbers"].judge(claim, found, told).verdict == verdict


@pytest.mark.parametrize(
    ("after", "verdict"),
    [((0.0, 0.1, 0.05), "reproduced"), ((0.5, 0.6, 0.7), "not reproduced"), ((0.0, 0.0, 0.6), "not testable")],
)
def test_collapse(scripts: Mapping[str, ModuleType], after: tuple[float, ...], verdict: str) -> None:
    runs = [run(settings("objective=topk_unnormalised"), seed, value) for seed, value in enumerate(after)]
    ablation, found, told = cases(scripts, runs, "renormalisation")
    assert scripts["paper_numbers"].judge(ablation.claims[0], found, told).verdict == verdict


@pytest.mark.parametrize(
    ("factors", "verdicts"),
    [
        ((90.0, 100.0, 110.0), ("reproduced", "reproduced")),
        ((1.9, 2.0, 2.1), ("reproduced", "not reproduced")),
        ((0.4, 0.5, 0.6), ("not reproduced", "not reproduced")),
        ((0.1, 1.0, 100.0), ("not testable", "not testable")),
    ],
)
def test_variance(scripts: Mapping[str, ModuleType], factors: tuple[float, ...], verdicts: tuple[str, ...]) -> None:
    plain = settings("objective=sampled")
    later = settings("objective=sampled", "objective.discount=1.0")
    runs = [run(plain, seed, 0.7) for seed in range(3)]
    runs += [run(later, seed, 0.71, variance) for seed, variance in enumerate(factors)]
    ablation, found, told = cases(scripts, runs, "gamma")
    claims = [one for one in ablation.claims if one.rule.startswith("variance")]
    assert tuple(scripts["paper_numbers"].judge(one, found, told).verdict for one in claims) == verdicts


def test_reward_at_equal_time_counts_the_steps_that_fit(scripts: Mapping[str, ModuleType]) -> None:
    _, found, _ = cases(scripts, [run(settings("k=32"), 0, 0.8)], "k")
    steps, rewards = scripts["paper_numbers"].reward_at(found["K = 32"], 6.5)
    assert steps == 3
    assert rewards == {"0": pytest.approx(0.2)}


@pytest.mark.slow
def test_a_page_of_partial_results_names_what_is_missing(
    scripts: Mapping[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = scripts["paper_page"]
    runs = [run(settings("k=32"), seed, 0.8) for seed in range(5)] + [run(settings("k=2"), 1, 0.5)]
    monkeypatch.setattr(page, "read_all", lambda _: (runs, []))
    monkeypatch.setattr(page, "PAGE", tmp_path / "paper.md")
    monkeypatch.setattr(page, "_ROOT", tmp_path)
    page.main(["somewhere"])
    text = (tmp_path / "paper.md").read_text(encoding="utf-8")
    assert (
        "K = 48 (0 of 5 seeds), K = 16 (0 of 5 seeds), K = 8 (0 of 5 seeds), K = 4 (0 of 5 seeds), K = 2 (1 of 5 seeds)"
        in text
    )
    assert (tmp_path / "paper" / "k.png").stat().st_size > 5000
    assert not (tmp_path / "paper" / "top_p.png").exists()


def test_every_planned_case_is_a_configuration_and_every_pair_and_claim_names_cases(
    scripts: Mapping[str, ModuleType],
) -> None:
    for ablation in scripts["paper_ablations"].ABLATIONS:
        names = {case.name for case in ablation.cases}
        pairs = {name for pair in ablation.pairs for name in pair}
        claimed = {name for claim in ablation.claims for name in (claim.first, claim.second) if name}
        assert pairs | claimed <= names
        compared = [claim for claim in ablation.claims if claim.rule in ("better", "alike")]
        pairs_either_way = {frozenset(pair) for pair in ablation.pairs}
        assert {frozenset((claim.first, claim.second)) for claim in compared} <= pairs_either_way


def test_the_planted_teacher_differs_in_its_stop_token_alone(
    scripts: Mapping[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    embedded = ROOT / "opdkit/models/embedded/teacher"
    monkeypatch.setattr(sys, "argv", ["plant", "--teacher", str(embedded), "--output", str(tmp_path / "planted")])
    scripts["plant_mismatch"].main()
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    stop, instead = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<|endoftext|>"])
    text = "<|im_start|>user\nWork out 1 + 2 step by step.<|im_end|>\n<|im_start|>assistant\nFrom left to right:\n"
    ids = torch.tensor([tokenizer.encode(text + "1. 1 + 2 = 3\n\\boxed{3}")])
    with torch.no_grad():
        ours, planted = (
            AutoModelForCausalLM.from_pretrained(path)(ids).logits[0] for path in (embedded, tmp_path / "planted")
        )
    order = list(range(ours.shape[-1]))
    order[stop], order[instead] = instead, stop
    torch.testing.assert_close(planted[:, order], ours)
    assert ours[-1].log_softmax(-1)[stop] > math.log(0.99)
    assert planted[-1].log_softmax(-1)[stop] < -10
