from __future__ import annotations

from dataclasses import dataclass

import pytest

from opdkit.errors import UserError
from opdkit.evaluation import Benchmark
from opdkit.evaluation.asking import cut_at
from opdkit.tasks import ReasoningGym
from tests.evaluation.stubs import Doubles


@dataclass(frozen=True)
class Sampler:
    p: float


def test_limit_keeps_the_first_problems() -> None:
    problems = Benchmark(Doubles(), None, limit=3).problems()
    assert [problem.identifier for problem in problems] == ["doubles/0", "doubles/1", "doubles/2"]
    assert len(Benchmark(Doubles(), None, limit=99).problems()) == 10


def test_path_replaces_the_path_of_the_source() -> None:
    benchmark = Benchmark(Doubles(), None, path="other.jsonl")
    assert benchmark.chosen_source == Doubles(path="other.jsonl")
    assert Benchmark(Doubles(), None).chosen_source == Doubles()


def test_protocol_names_the_sampler_with_its_settings() -> None:
    protocol = Benchmark(Doubles(), Sampler(0.9), temperature=0.7, max_new_tokens=64).protocol()
    assert protocol == {
        "temperature": 0.7,
        "sampler": {"name": "Sampler", "p": 0.9},
        "max_new_tokens": 64,
        "limit": None,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_samples": 0}, "benchmark.n_samples=0"),
        ({"limit": 0}, "benchmark.limit=0"),
        ({"max_new_tokens": -1}, "benchmark.max_new_tokens=-1"),
        ({"chunk": 0}, "benchmark.chunk=0"),
        ({"temperature": 0.0}, "choose sampler greedy"),
        ({"temperature": float("nan")}, "benchmark.temperature=nan"),
        ({"n_samples": 4, "pass_at": [2, 8]}, "benchmark.pass_at=8 with n_samples=4"),
    ],
)
def test_values_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Benchmark(Doubles(), None, **settings)  # pyright: ignore[reportArgumentType]


def test_generated_problems_have_no_path() -> None:
    with pytest.raises(UserError, match="generated, not read from a file"):
        Benchmark(ReasoningGym("chain_sum"), None, path="x.jsonl")


def test_an_answer_is_cut_at_the_first_of_its_stop_strings() -> None:
    assert cut_at("4.\nQ: next\n\n", ("\n\n", "\nQ:")) == "4."
    assert cut_at("4.", ("\n",)) == "4."
    assert cut_at("4.", ()) == "4."
    for stop in ("\n", [""], [3]):
        with pytest.raises(UserError, match=r"benchmark\.stop="):
            Benchmark(Doubles(), sampler=None, stop=stop)  # type: ignore[arg-type]
    assert "stop" not in Benchmark(Doubles(), sampler=None).protocol(), "an evaluation of before goes on"
    assert Benchmark(Doubles(), sampler=None, stop=["\n"]).protocol()["stop"] == ["\n"]
