"""Methods with a judge, or whose teacher is the student: killed with signal 9, they go on as if they had not been."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from opdkit.cli.main import main
from opdkit.data.problem import Message
from opdkit.text.base import Chat
from opdkit.text.quoting import unfenced
from opdkit.text.scripted import answer
from tests.invariants.conftest import merged, metrics, weights
from tests.text.server import Said, completion, serve

Train = Callable[..., Path]
Start = Callable[..., "subprocess.Popen[str]"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ROPD = (
    "method=ropd", "text=openai", "text.model=script", "text.key_variable=null", "text.concurrency=1", "steps=3",
    "checkpoint_every=1", "method.terms.student.reward.teacher_answers=2",
)  # fmt: skip


def judged(body: dict[str, Any]) -> Said:
    """The scripted judge behind HTTP, but for its verdicts: random responses must differ in them."""
    form = body.get("response_format")
    schema = None if form is None else form["json_schema"]["schema"]
    turns = tuple(Message(turn["role"], turn["content"]) for turn in body["messages"])
    if kind(body) != "verdicts":
        return completion(answer(Chat(turns, body.get("seed", 0), schema)))
    parts = unfenced(turns[-1].content)
    criteria = [name for name in parts if name.startswith("criterion ")]
    responses = [text for name, text in parts.items() if name.startswith("response ")]
    rows = [[(len(text) + number) % 2 == 0 for number in range(len(criteria))] for text in responses]
    return completion(json.dumps({"verdicts": [{"response": i + 1, "passed": row} for i, row in enumerate(rows)]}))


def asked(bodies: list[dict[str, Any]]) -> list[str]:
    return [json.dumps(body, sort_keys=True) for body in bodies]


def kind(body: dict[str, Any]) -> str:
    """rubric, verdicts, or text for a teacher's answer."""
    return body["response_format"]["json_schema"]["name"] if "response_format" in body else "text"


@pytest.mark.parametrize("between", [("text", 20), ("rubric", 6), ("verdicts", 6)], ids=lambda at: at[0])
def test_ropd_killed_between_two_calls_of_its_judge_asks_nothing_twice(
    train: Train, start: Start, pair: list[str], tmp_path: Path, between: tuple[str, int]
) -> None:
    """The answer to call n of a kind never comes: the process is killed while it waits."""
    with serve(lambda body, number: judged(body)) as quiet:
        whole = train("whole", *ROPD, f"text.base_url={quiet.url}")
    assert {kind(body) for body in quiet.requests} == {"text", "rubric", "verdicts"}
    running: list[subprocess.Popen[str]] = []

    def deadly(body: dict[str, Any], number: int) -> Said:
        same = [one for one in server.requests if kind(one) == between[0]]
        if running and kind(body) == between[0] and len(same) == between[1]:
            running.pop().kill()
        return judged(body)

    with serve(deadly) as server:
        address = f"text.base_url={server.url}"
        running.append(start("killed", *ROPD, address))
        process = running[0]
        _, said = process.communicate()
        assert process.returncode == -9, said
        before = list(server.requests)
        steps = len(metrics(tmp_path / "killed"))
        assert 0 < steps < len(metrics(whole))
        assert main(["train", *merged(*pair, *ROPD, address, "run_dir=killed", "resume=true")]) == 0
    # The one that was under way when the process died has no answer on disk.
    after = asked(server.requests[len(before) :])
    assert not {*asked(before[:-1])} & {*after}
    assert sorted([*asked(before[:-1]), *after]) == sorted(asked(quiet.requests))
    assert any(row.get("train/grad_norm", 0) > 0 for row in metrics(whole))
    assert weights(whole) == weights(tmp_path / "killed")
    assert _without_usage(whole) == _without_usage(tmp_path / "killed")


def _without_usage(folder: Path) -> list[dict[str, Any]]:
    """Metrics without what was asked and what was found: a step that is done again finds its answers."""
    usage = {f"reward/{name}" for name in ("calls", "cached", "failed_calls", "tokens", "seconds")}
    return [{name: value for name, value in row.items() if name not in usage} for row in metrics(folder)]


GROUPS = ("batch.rollouts_per_prompt=4", "batch.prompts=2", "reward=function", "reward.function=parity.py:reward")
INNER = "method.terms.student.teacher.inner"
METHODS = {
    "rlsd": ("method=rlsd", *GROUPS, f"{INNER}.every=2"),
    "brts": ("method=brts", *GROUPS, "method.terms.student.objective.k=8", "method.terms.teacher.objective.k=8"),
    "opsd": ("method=opsd",),
    "sdft": ("method=sdft", f"{INNER}.rate=0.3"),
    "sdpo": ("method=sdpo", *GROUPS, f"{INNER}.rate=0.3"),
    "context": ("method=context",),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_killed_between_two_checkpoints_goes_on_bit_for_bit(
    train: Train, start: Start, pair: list[str], tmp_path: Path, name: str
) -> None:
    (tmp_path / "parity.py").write_text("def reward(problem, response, siblings):\n    return len(response) % 2\n")
    overrides = (*METHODS[name], "steps=6", "checkpoint_every=2")
    whole = train("whole", *overrides)
    process = start("killed", *overrides)
    file, until = tmp_path / "killed" / "metrics.jsonl", time.monotonic() + 300
    while not file.exists() or file.read_text().count("\n") <= 3:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until, "the run did not get that far"
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert main(["train", *merged(*pair, *overrides, "run_dir=killed", "resume=true")]) == 0
    assert metrics(whole) == metrics(tmp_path / "killed")
    assert weights(whole) == weights(tmp_path / "killed")
