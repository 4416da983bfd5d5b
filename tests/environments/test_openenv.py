"""Environments of OpenEnv: played, trained on and evaluated over a stub of its server."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from opdkit.environments import Crash, EnvironmentPool, Observation, OpenEnv, StepResult
from opdkit.environments.openenv_actions import ActionForm, NoActionError, action_form
from opdkit.errors import UserError
from tests.cli.conftest import Opdkit, opdkit  # noqa: F401
from tests.environments.openenv_stub import stubbed, training

GUESS = {"properties": {"guess": {"type": "integer"}, "metadata": {"type": "object"}}, "required": ["guess"]}
TOOLS = {"properties": {"type": {}, "tool_name": {"type": "string"}, "arguments": {"type": "object"}, "metadata": {}}}


class Guess:
    """Says whether the number that is the seed is higher; one point for it, and a tenth for each try."""

    def reset(self, seed: int, most: int = 9) -> dict[str, Any]:
        self.seed = seed
        return {"text": f"1 to {most}", "moves": ["1", "2"], "empty": None}

    def step(self, action: Mapping[str, Any]) -> tuple[dict[str, Any], float | None, bool]:
        if action["guess"] < 0:
            raise ValueError("below 0")
        if action["guess"] == 13:
            raise RuntimeError("bad luck")
        right = action["guess"] == self.seed
        text = "yes" if right else "higher" if action["guess"] < self.seed else "lower"
        return {"text": text, "moves": [], "empty": None}, 1.0 if right else 0.1, right


class Adder:
    """An environment of tools, as MCP has them."""

    def reset(self, seed: int) -> dict[str, Any]:
        return {"text": f"What is {seed} + {seed}?"}

    def step(self, action: Mapping[str, Any]) -> tuple[dict[str, Any], float | None, bool]:
        if action["type"] == "list_tools":
            schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}
            return {"tools": [{"name": "add", "description": "The sum.", "input_schema": schema}]}, None, False
        if action["tool_name"] != "add":
            return {"tool_name": action["tool_name"], "error": {"message": "no such tool"}}, None, False
        total = action["arguments"]["a"] + action["arguments"]["b"]
        content = [{"type": "text", "text": str(total)}]
        return {"tool_name": "add", "result": {"content": content}, "error": None}, 0.5, total > 7


@pytest.fixture
def guess() -> Iterator[str]:
    with stubbed(Guess, GUESS) as (address, _):
        yield address


def test_an_episode_and_what_is_no_action(guess: str) -> None:
    source = OpenEnv(server=guess, shown=["text"], admissible="moves", reset={"most": 5}, start=3, count=2)
    assert [(one.identifier, one.seed) for one in source.episodes()] == [("openenv/3", 3), ("openenv/4", 4)]
    with EnvironmentPool(source, 1) as pool:
        assert pool.reset([(0, 3)]) == [Observation("1 to 5", ("1", "2"))]
        assert pool.step([(0, "2")]) == [StepResult(Observation("higher"), 0.1, False, 0.1, False, True)]
        assert pool.step([(0, "two")]) == [
            StepResult(Observation("This is no integer."), 0.1, False, 0.1, False, False)
        ]
        (refused,) = pool.step([(0, "-1")])
        assert refused == StepResult(Observation("This action is not understood."), 0.1, False, 0.1, False, False)
        (end,) = pool.step([(0, "3")])
        assert isinstance(end, StepResult)
        assert (end.done, end.success, end.valid, end.score) == (True, True, True, 1.0)
        pool.reset([(0, 4)])
        (crash,) = pool.step([(0, "13")])
        assert isinstance(crash, Crash)
        assert "the server says EXECUTION_ERROR: bad luck" in crash.detail


def test_sessions_are_given_back_at_the_end_of_an_episode() -> None:
    with stubbed(Guess, GUESS, sessions=1) as (address, stub):
        source = OpenEnv(server=address, max_turns=2, returns="last", patience=0.0)
        with EnvironmentPool(source, 2) as pool:
            for first, second in ((0, 1), (1, 0)):  # the other slot keeps none: not at an end, nor at the last turn
                pool.reset([(first, 7)])
                found = [pool.step([(first, action)])[0] for action in ("1", "7" if first else "2")]
                assert [one.score for one in found if isinstance(one, StepResult)] == [0.1, 1.0 if first else 0.1]
                assert second != first
            pool.reset([(0, 7)])
            (crash,) = pool.reset([(1, 7)])
            assert isinstance(crash, Crash)
            assert "CAPACITY_REACHED: 1 of 1" in crash.detail
        assert stub.opened == 3


def test_tools_are_told_and_called() -> None:
    with stubbed(Adder, TOOLS) as (address, _), EnvironmentPool(OpenEnv(server=address), 1) as pool:
        (opening,) = pool.reset([(0, 4)])
        assert isinstance(opening, Observation)
        assert opening.text.startswith("What is 4 + 4?\n\nTools:\n{")
        assert '"name": "add"' in opening.text
        (idle,) = pool.step([(0, "eight")])
        assert idle == StepResult(Observation("No tool was called."), 0.0, False, 0.0, False, False)
        (wrong,) = pool.step([(0, '<tool_call>{"name": "sub"}</tool_call>')])
        assert wrong == StepResult(
            Observation("<tool_response>\nno such tool\n</tool_response>"), 0.0, False, 0.0, False, False
        )
        calls = [f'<tool_call>{{"name": "add", "arguments": {{"a": {a}, "b": 4}}}}</tool_call>' for a in (1, 4, 9)]
        (end,) = pool.step([(0, f"so {' and '.join(calls)}")])  # the third comes too late
        both = "\n\n".join(f"<tool_response>\n{total}\n</tool_response>" for total in (5, 8))
        assert end == StepResult(Observation(both), 0.5, True, 1.0, True, True)


def test_trained_on_and_evaluated(guess: str, opdkit: Opdkit, tmp_path: Path) -> None:  # noqa: F811
    told = opdkit(*training(guess, turns=2), "steps=1", "batch.prompts=2", "batch.mini_batch=2")
    assert told.status == 0, told
    (step,) = [row for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()
               if "train/loss" in (row := json.loads(line))]  # fmt: skip
    assert step["rollout/crashed_episodes"] == 0
    assert step["rollout/turns_mean"] == 2
    found = json.loads((tmp_path / "run/evals/openenv.json").read_text())
    assert (found["n_played"], found["n_crashed"]) == (2, 0)


@pytest.mark.parametrize(
    ("schema", "wanted", "constants", "said"),
    [
        ({"properties": {"a": {}, "b": {}}, "required": ["a", "b"]}, None, {}, "the fields a, b; name one"),
        (GUESS, "gess", {}, "action=gess: no such field of an action; allowed: guess, json, tools"),
        (GUESS, None, {"colour": 1}, "constants.colour: no such field of an action; allowed: guess"),
    ],
)
def test_what_a_schema_leaves_open_is_asked_for(
    schema: dict[str, Any], wanted: str | None, constants: dict[str, Any], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        action_form(schema, wanted, constants)


@pytest.mark.parametrize(
    ("form", "text", "action"),
    [
        (ActionForm("code", "string", {"timeout": 3}), "a\nb", {"code": "a\nb", "timeout": 3}),
        (ActionForm("x", "number", {}), " 2.5 ", {"x": 2.5}),
        (ActionForm("x", "boolean", {}), "True", {"x": True}),
        (ActionForm("json", "string", {}), 'I say {"x": {"y": 1}}.', {"x": {"y": 1}}),
        (ActionForm("json", "string", {}), "{no", None),
        (ActionForm("x", "boolean", {}), "maybe", None),
        (ActionForm("tools", "string", {}), "<tool_call>[]</tool_call>", None),
        (ActionForm("x", "number", {}), "nan", None),
        (ActionForm("x", "number", {}), "1e999", None),
        (ActionForm("x", "array", {}), "[NaN]", None),
        (ActionForm("x", "array", {}), "[1e999]", None),
        (ActionForm("json", "string", {}), '{"a": Infinity}', None),
        (ActionForm("tools", "string", {}), '<tool_call>{"name": "add", "arguments": {"a": NaN}}</tool_call>', None),
    ],
)
def test_answers_become_actions(form: ActionForm, text: str, action: dict[str, Any] | None) -> None:
    if action is None:
        with pytest.raises(NoActionError):
            form.read(text)
    else:
        assert form.read(text) == [action]
    assert action_form({"properties": {"a": {}, "b": {}}, "required": ["a", "b"]}, None, {"b": 1}).field == "a"


def test_refusals_are_one_line(guess: str, opdkit: Opdkit) -> None:  # noqa: F811
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    for changes, said in (
        ([f"benchmark.source.server={nobody}"], "no OpenEnv server answers"),
        (["benchmark.source.server=somewhere"], "server=somewhere: is no address"),
        (["benchmark.source.server=http://me:secret@h"], "server=...: holds a name, a password"),
        ([f"benchmark.source.server={guess}", "benchmark.source.action=code"], "action=code: no such field"),
        ([f"benchmark.source.server={guess}", "benchmark.source.shown=[board]"], "shown: board is no field"),
        ([f"benchmark.source.server={guess}", "benchmark.source.returns=mean"], "returns"),
    ):
        told = opdkit("eval", "benchmark=openenv", "benchmark.source.count=1", "max_prompt_tokens=200", *changes)
        assert told.status == 2, told
        assert said in told.err
        assert told.err.count("\n") == 1


def test_the_whole_answer_is_the_action_or_the_part_that_is_asked_for() -> None:
    answer = "<think>hm\n```py\n1\n```</think>\nfirst\n```py\na\nb\n```\n"
    assert OpenEnv(server="http://h").read_action(answer) == "first\n```py\na\nb\n```"
    assert OpenEnv(server="http://h", action_pattern=r"(?s)```py\n(.*?)```").read_action(answer) == "a\nb"


def test_a_reward_that_is_no_number_ends_the_game_and_nothing_else() -> None:
    class Odd:
        def reset(self, seed: int) -> dict[str, Any]:
            return {"text": "go"}

        def step(self, action: Mapping[str, Any]) -> tuple[dict[str, Any], Any, bool]:
            return {"text": "well"}, float("nan"), False

    with stubbed(Odd, GUESS) as (address, _), EnvironmentPool(OpenEnv(server=address), 1) as pool:
        assert isinstance(pool.reset([(0, 3)])[0], Observation)
        (result,) = pool.step([(0, "4")])
        assert isinstance(result, Crash)
        assert "no number" in result.detail
