"""`opdkit eval` with several benchmarks and a sampler of the benchmark's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Opdkit

SMALL = ("model=embedded", "benchmark.limit=2", "benchmark.max_new_tokens=8")


@pytest.mark.parametrize("asked", ["[chain_sum,chain_sum_short]", "chain_sum,chain_sum_short"])
def test_several_benchmarks_have_one_table(opdkit: Opdkit, tmp_path: Path, asked: str) -> None:
    drawn = ("n_samples=2", "sampler=top_p", "sampler.p=0.8")
    told = opdkit("eval", f"benchmark={asked}", *SMALL, *drawn, "run_dir=run")
    assert (told.status, told.err) == (0, "")
    (head,) = [line for line in told.out.splitlines() if "std. error" in line]
    for column in ("pass@1", "95 % interval", "pass@2", "avg@2", "majority@2"):
        assert column in head
    for name in ("chain_sum", "chain_sum_short"):
        assert any(line.startswith(f"{name} ") for line in told.out.splitlines())
        results = json.loads((tmp_path / f"run/evals/{name}.json").read_text())
        assert results["protocol"]["sampler"] == {"name": "TopP", "p": 0.8}
        assert results["standard_error"] >= 0


def test_several_answers_of_a_greedy_sampler_are_warned_of(opdkit: Opdkit) -> None:
    told = opdkit("eval", "benchmark=chain_sum", *SMALL, "n_samples=2", "run_dir=run")
    assert told.status == 0
    assert "warning: chain_sum: n_samples=2 with a greedy sampler" in " ".join(told.out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["benchmark=[chain_sum,chain_sum]"], "names of benchmarks, each once"),
        (["benchmark=[]"], "names of benchmarks, each once"),
        (["benchmark=gsm8k,math500", "benchmark.path=a.jsonl"], "can't share one file"),
        (["benchmark=chain_sum,nothing"], "no such option"),
        (["benchmark=chain_sum,math500", "--cfg", "job"], "one benchmark at a time"),
        (["sampler=top"], "no such option; allowed: ancestral, greedy, min_p, top_k, top_p"),
        (["sampler=top_p", "sampler.k=3"], "no key named k"),
    ],
)
def test_what_is_refused(opdkit: Opdkit, arguments: list[str], said: str) -> None:
    told = opdkit("eval", *arguments)
    assert (told.status, told.out) == (2, "")
    assert said in told.err
    assert told.err.count("\n") == 1


def test_the_sampler_is_the_benchmarks_under_a_protocol_too(opdkit: Opdkit) -> None:
    told = opdkit("eval", "--cfg", "job", "protocol=greedy", "sampler=min_p")
    assert (told.status, told.err) == (0, "")
    assert "_target_: opdkit.samplers.MinP" in told.out
    assert "Greedy" not in told.out
