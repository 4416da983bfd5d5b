"""Environments of `verifiers`: two from PyPI and one of many turns, played, trained on and evaluated offline."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdkit.environments import EnvironmentPool, Observation, StepResult, Verifiers
from opdkit.errors import UserError
from tests.cli.conftest import Opdkit, opdkit  # noqa: F401

needs_verifiers = pytest.mark.skipif(importlib.util.find_spec("verifiers") is None, reason="needs opdkit[verifiers]")
REASONING_GYM = "verifiers.legacy.envs.integrations.reasoninggym_env:ReasoningGymEnv"
SEVERAL_TURNS = '''
import verifiers as vf
from datasets import Dataset


class Guess(vf.MultiTurnEnv):
    async def env_response(self, messages, state, **kwargs):
        state["hit"] = messages[-1].content.strip() == state["answer"]
        if state["hit"]:
            state["final_env_response"] = [vf.UserMessage(content="yes")]
        return [vf.UserMessage(content="no, again")]


def add(left: int, right: int) -> str:
    """The sum."""
    return str(left + right)


def right(state, **kwargs):
    return 2.0 * state.get("hit", False)


def load_environment(top=3, tools=False, siblings=False):
    rows = Dataset.from_list([{"question": f"Hint {i}", "answer": str(i)} for i in range(top)])
    if tools:
        return vf.ToolEnv(dataset=rows, tools=[add], max_turns=3, rubric=vf.Rubric(funcs=[lambda **_: 1.0]))
    rubric = vf.Rubric(funcs=[lambda completions, **_: [0.0] * len(completions) if siblings else right])
    rubric = rubric if siblings else vf.Rubric(funcs=[right])
    return Guess(dataset=rows, eval_dataset=rows, system_prompt="You guess.", max_turns=3, rubric=rubric)
'''


@pytest.fixture
def guess(tmp_path: Path) -> Iterator[Path]:
    """A module of someone else's."""
    (tmp_path / "guess_env.py").write_text(SEVERAL_TURNS)
    path = list(sys.path)
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path[:] = path


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"id": "os; rm"}, "no name of a module"),
        ({"id": "os:system"}, "of Python's own library"),
        ({"id": "a", "split": "trian"}, "(did you mean train?)"),
        ({"id": "a", "start": -1}, "allowed: start from 0"),
        ({"id": "a", "max_turns": 0}, "max_turns=0"),
    ],
)
def test_what_it_takes(fields: dict, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(").replace(")", r"\)").replace("?", r"\?")):
        Verifiers(**fields)


@needs_verifiers
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_turns_tools_and_rewards(guess: Path) -> None:
    several = Verifiers(id="guess-env", arguments={"top": 3}, count=3)
    assert [episode.identifier for episode in several.episodes()] == [f"verifiers/train/{row}" for row in range(3)]
    with EnvironmentPool(several, 1) as pool:
        for _ in range(2):  # an episode that was left unfinished, and one that ends
            assert pool.reset([(0, 1)]) == [Observation("You guess.\n\nHint 1")]
            assert pool.step([(0, "2")]) == [StepResult(Observation("no, again"), 0.0, False, 0.0, False, True)]
        assert pool.step([(0, " 1\n")]) == [StepResult(Observation(""), 1.0, True, 1.0, True, True)]
        with pytest.raises(UserError, match=r"row 3 is asked for \(start \+ count\), and it has 3"):
            pool.reset([(0, 3)])
    with EnvironmentPool(Verifiers(id="guess-env", arguments={"tools": True}), 1) as pool:
        (opening,) = pool.reset([(0, 0)])
        assert isinstance(opening, Observation)
        assert '"name": "add"' in opening.text
        (answer,) = pool.step([(0, 'so <tool_call>{"name": "add", "arguments": {"left": 2, "right": 3}}</tool_call>')])
        assert isinstance(answer, StepResult)
        assert answer.observation.text == "<tool_response>\n5\n</tool_response>"
        (end,) = pool.step([(0, "<tool_call>{nonsense}</tool_call>")])
        assert isinstance(end, StepResult)
        assert end.done
    for wrong, said in (({"siblings": True}, "compares rollouts"), ({"no": 1}, "unexpected keyword")):
        with (
            EnvironmentPool(Verifiers(id="guess-env", arguments=wrong), 1) as pool,
            pytest.raises(UserError, match=said),
        ):
            pool.reset([(0, 0)])


@needs_verifiers
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("identifier", "arguments", "package"),
    [
        (
            REASONING_GYM,
            ("gym=chain_sum", "num_train_examples=8", "num_eval_examples=4", "system_prompt=Add."),
            "reasoning_gym",
        ),
        ("stardata.envs.constraint_gym", (), "stardata"),
        ("guess-env", ("top=4",), "verifiers"),
    ],
)
def test_trained_on_and_evaluated(
    identifier: str,
    arguments: tuple[str, ...],
    package: str,
    guess: Path,
    opdkit: Opdkit,  # noqa: F811
) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}")
    task, benchmark = ([f"+{place}.arguments.{one}" for one in arguments] for place in ("task", "benchmark.source"))
    told = opdkit(
        "train", "task=verifiers", f"task.id='{identifier}'", *task, "task.count=4",
        "benchmark=verifiers", f"benchmark.source.id='{identifier}'", *benchmark,
        "benchmark.source.split=train", "benchmark.source.count=2", "benchmark.max_new_tokens=8", "run_dir=run",
        "rollout.reward=score", "rollout.max_prompt_tokens=480", "rollout.max_new_tokens=8", "rollout.side_by_side=2",
        "steps=2", "batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=2", "batch.epochs=1", "logger=jsonl",
    )  # fmt: skip
    assert told.status == 0, told
    rows = [json.loads(line) for line in (guess / "run/metrics.jsonl").read_text().splitlines()]
    steps = [row for row in rows if "train/loss" in row]
    assert len(steps) == 2
    assert all(row["rollout/crashed_episodes"] == 0 for row in steps)
    assert steps[0]["rollout/turns_mean"] == (3 if identifier == "guess-env" else 1)
    found = json.loads((guess / "run/evals/verifiers.json").read_text())
    assert (found["n_played"], found["n_crashed"]) == (2, 0)


def test_without_the_package_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
    opdkit: Opdkit,  # noqa: F811
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "verifiers" else found(name, *rest)
    )
    told = opdkit("eval", "benchmark=verifiers", "benchmark.source.id=mine")
    assert told.status == 2
    assert "verifiers is not installed: pip install 'opdkit[verifiers]'" in told.err
    assert told.err.count("\n") == 1
