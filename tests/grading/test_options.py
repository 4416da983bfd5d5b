"""The task and benchmark files in conf/, read the way `task.path=` and `benchmark.path=` have them read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from opdkit.data.problem import Problem
from opdkit.tasks.procedural import is_held_out
from tests.tasks.shared import shared_file

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"


def problems(group: str, option: str, path: Path | None = None) -> Sequence[Problem]:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        composed = compose(overrides=[f"+{group}={option}"])
    node = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(node, dict)
    settings = {**node[group]} if path is None else {**node[group], "path": str(path)}
    built = instantiate(settings, _convert_="all")
    return built.load() if group == "task" else built.problems()


def content(problem: Problem) -> str:
    (message,) = problem.messages
    return message.content


@pytest.mark.parametrize(
    ("group", "option", "file", "count"),
    [
        ("benchmark", "gsm8k", "word_problems.jsonl", 4),
        ("task", "gsm8k", "word_problems.jsonl", 4),
        ("benchmark", "math500", "competition.jsonl", 16),
        ("task", "dapo_math", "instructed.jsonl", 3),
    ],
)
def test_options_read_a_file_in_the_columns_of_the_hub(group: str, option: str, file: str, count: int) -> None:
    found = problems(group, option, FIXTURES / file)
    assert len(found) == count
    for problem in found:
        assert problem.identifier.startswith(f"{option}/")
        assert content(problem).endswith("\n\nReason step by step, and put the final answer in \\boxed{}.")


def test_dapo_prompts_lose_their_own_instructions() -> None:
    bare = [
        content(problem).split("\n\nReason")[0]
        for problem in problems("task", "dapo_math", FIXTURES / "instructed.jsonl")
    ]
    assert bare == ["Find $2+2$.", "Find $3+3$.", "Find $4+4$."]


@pytest.mark.parametrize(
    ("group", "option", "file", "count"),
    [
        ("benchmark", "gsm8k", "gsm8k_test.jsonl", 1319),
        ("task", "gsm8k", "gsm8k_train.jsonl", 7473),
        ("benchmark", "math500", "math500.jsonl", 500),
        ("benchmark", "aime24", "aime24.jsonl", 30),
        ("benchmark", "amc23", "amc23.jsonl", 40),
        ("task", "dapo_math", "dapo_math_17k.jsonl", 17398),
    ],
)
def test_options_read_the_public_sets(group: str, option: str, file: str, count: int) -> None:
    found = problems(group, option, shared_file(file))
    assert len(found) == count
    assert not [problem.identifier for problem in found if "within \\boxed" in content(problem)]


def test_chain_sum_trains_on_no_test_question() -> None:
    train = {content(problem) for problem in problems("task", "chain_sum")[:2000]}
    test = {content(problem) for problem in problems("benchmark", "chain_sum")}
    assert len(test) >= 250
    assert not train & test
    assert all(is_held_out(text.removeprefix("Work out ").removesuffix(" step by step.")) for text in test)
