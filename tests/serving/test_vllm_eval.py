"""`opdkit eval rollout=vllm` against a stub of the server: the rows that the same weights write in this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from opdkit.api.commands import evaluate
from opdkit.cli.main import main
from tests.lamp import LAMP
from tests.ranks import environment, torchrun
from tests.serving.running import free_port
from tests.serving.stub import Stub, stubbed
from tests.tiny import save_pair, tiny_model

SHORT = ("benchmark.limit=3", "benchmark.max_new_tokens=12", "max_prompt_tokens=64")


@pytest.fixture
def student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    return save_pair(tmp_path)[:2]


@pytest.fixture
def served() -> Iterator[tuple[str, Stub]]:
    with stubbed(replace(tiny_model(9), vocabulary=264), longest=96) as found:
        yield found


@pytest.mark.parametrize(
    "asked",
    [
        ("benchmark=chain_sum_short",),
        ("benchmark=chain_sum_short", "sampler=top_p", "sampler.p=0.8", "n_samples=2", "benchmark.temperature=0.7"),
        ("benchmark=chain_sum_short", "sampler=ancestral", "benchmark.stop=[a,e,o]", "n_samples=3"),
        ("benchmark=chain_sum,chain_sum_short",),
    ],
    ids=["greedy", "sampled", "stop strings", "several"],
)
def test_rows_are_those_written_in_this_process(
    student: list[str], served: tuple[str, Stub], asked: Sequence[str], tmp_path: Path
) -> None:
    address, stub = served
    servers = ["rollout=vllm", f"rollout.servers=[http://127.0.0.1:{free_port()},{address}]", "rollout.backoff=0.01"]
    there = evaluate([*student, *servers, *SHORT, *asked, "run_dir=there"], quiet=True)
    here = evaluate([*student, *SHORT, *asked, "run_dir=here"], quiet=True)
    assert [call["method"] for call in stub.calls] == ["reload_weights"]  # once for all benchmarks
    assert there.summaries == here.summaries
    for name in here.summaries:
        assert there.responses_to(name) == here.responses_to(name)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_several_processes_share_the_requests_and_one_may_have_none(
    student: list[str], served: tuple[str, Stub], tmp_path: Path
) -> None:
    asked = [*student, *SHORT[1:], "benchmark=chain_sum_short", "benchmark.limit=1"]
    command = torchrun(2, "-m", "opdkit", "eval", *asked, "rollout=vllm", f"rollout.servers=[{served[0]}]")
    done = subprocess.run(
        [*command, "run_dir=there"], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    here = evaluate([*asked, "run_dir=here"], quiet=True)
    lines = (tmp_path / "there/evals/chain_sum_short.responses.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == here.responses


def test_a_prompt_that_is_too_long_is_not_asked(student: list[str], served: tuple[str, Stub]) -> None:
    asked = ["rollout=vllm", f"rollout.servers=[{served[0]}]", "benchmark=chain_sum_short", "run_dir=run"]
    found = evaluate([*student, *asked, *SHORT[:2], "max_prompt_tokens=3"], quiet=True)
    assert found.summary["truncated_fraction"] == 1.0
    assert all("prompt_logprobs" in request for request in served[1].requests)  # the proof of the weights alone


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("rollout.max_new_tokens=2000",), "together 20"),
        (("rollout.gap_limit=0",), "rollout.gap_limit=0 must be above 0"),
        (("rollout.batch_size=0",), "batch_size=0: must be at least 1"),
        (("rollout=vlm",), "rollout=vlm: no such option; allowed: "),
    ],
)
def test_refusals_are_one_line(
    student: list[str], served: tuple[str, Stub], asked: Sequence[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = () if "rollout=vlm" in asked else ("rollout=vllm", f"rollout.servers=[{served[0]}]")
    assert main(["eval", *student, *engine, "benchmark=chain_sum_short", "benchmark.limit=3", *asked]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_the_configuration_shows_the_lengths_of_the_benchmark(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--cfg", "job", "rollout=vllm", "rollout.max_new_tokens=33", "--resolve"]) == 0
    assert capsys.readouterr().out.count("max_new_tokens: 33") == 2


def test_games_are_played_by_a_server_too(
    student: list[str], served: tuple[str, Stub], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy of a game asks the same engine turn by turn."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    game = tmp_path / "options" / "benchmark"
    game.mkdir(parents=True)
    (tmp_path / "own_environment.py").write_text(LAMP)
    (game / "lamp.yaml").write_text(LAMP_YAML)
    asked = ["--config-dir", "options", *student, "benchmark=lamp", "max_prompt_tokens=80"]
    rows: list[list[object]] = []
    for name, engine in (("there", ["rollout=vllm", f"rollout.servers=[{served[0]}]"]), ("here", [])):
        assert main(["eval", *asked, *engine, f"run_dir={name}"]) == 0
        lines = (tmp_path / name / "evals" / "lamp.responses.jsonl").read_text().splitlines()
        rows.append([json.loads(line) for line in lines])
    assert rows[0] == rows[1]
    assert len(rows[0]) == 2


LAMP_YAML = """# a lamp, greedy
defaults:
  - /sampler@sampler: greedy
  - _self_
_target_: opdkit.evaluation.EpisodeBenchmark
name: lamp
max_new_tokens: 6
limit: 2
source:
  _target_: opdkit.environments.Custom
  _recursive_: false
  environment: {_target_: own_environment.Lamp}
  name: lamp
  count: 2
  max_turns: 2
"""
