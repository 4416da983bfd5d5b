"""Whole runs on episodes of many turns: the same invariants as for single answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights

Train = Callable[..., Path]
LETTERS = """# a game for tests
_target_: tests.games.LetterSource
count: 40
first: 0
max_turns: 4
"""
PLAYED = (
    "task=letters", "rollout=episodes", "rollout.max_prompt_tokens=400", "rollout.side_by_side=4", "batch.mini_batch=4",
)  # fmt: skip


@pytest.fixture
def letters(tmp_path: Path) -> str:
    """The flag that makes `task=letters` known."""
    (tmp_path / "own" / "task").mkdir(parents=True)
    (tmp_path / "own" / "task" / "letters.yaml").write_text(LETTERS)
    return f"--config-dir={tmp_path / 'own'}"


@pytest.mark.parametrize("form", ["turns", "episode"])
def test_micro_batches_equal_the_full_batch(train: Train, letters: str, form: str) -> None:
    asked = (letters, *PLAYED, f"rollout.form={form}", "steps=1")
    whole = train("whole", *asked, "batch.micro_batch=4")
    parts = train("parts", *asked, "batch.micro_batch=1")
    for name in ("train/loss", "train/grad_norm", "opd/student_mass", "rollout/length_mean"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4, abs=1e-6)
    one, two = load_file(whole / "final/model.safetensors"), load_file(parts / "final/model.safetensors")
    residual = torch.cat([(one[name] - two[name]).flatten() for name in one])
    moved = torch.cat([one[name].flatten() for name in one]).abs().mean()
    assert residual.abs().mean() < 2e-3 * moved


def test_the_forms_train_the_same_tokens(train: Train, letters: str) -> None:
    """Rows differ, tokens and their contexts do not; so with one mini-batch the first update is the same."""
    asked = (letters, *PLAYED, "batch.mini_batch=8", "steps=1")
    apart = metrics(train("apart", *asked, "rollout.form=turns"))[1]
    joined = metrics(train("joined", *asked, "rollout.form=episode"))[1]
    assert apart["rollout/length_mean"] < joined["rollout/length_mean"]
    for name in ("train/loss", "train/grad_norm", "opd/log_ratio_mean", "rollout/success", "rollout/invalid_fraction"):
        assert apart[name] == pytest.approx(joined[name], rel=1e-4)


def test_how_many_are_played_at_once_changes_nothing(train: Train, letters: str) -> None:
    one = metrics(train("one", letters, *PLAYED, "rollout.side_by_side=1", "steps=1"))
    many = metrics(train("many", letters, *PLAYED, "rollout.side_by_side=8", "steps=1"))
    for name in ("train/loss", "rollout/turns_mean", "rollout/success"):
        assert one[1][name] == pytest.approx(many[1][name], rel=1e-4)


def test_a_stopped_run_goes_on_as_if_it_had_not_been(train: Train, letters: str, pair: list[str]) -> None:
    long = (letters, *PLAYED, "steps=4", "checkpoint_every=2", "keep_checkpoints=9")
    whole = train("whole", *long)
    half = halved(whole, "step-000002")
    assert main(["train", *merged(*pair, *long, "run_dir=half", "resume=true")]) == 0
    assert metrics(half) == metrics(whole)
    assert weights(half) == weights(whole)
    assert (half / "samples.jsonl").read_text() == (whole / "samples.jsonl").read_text()


def test_metrics_and_samples_tell_of_the_episodes(train: Train, letters: str) -> None:
    folder = train("run", letters, *PLAYED, "steps=2")
    for line in metrics(folder)[1:]:
        assert 0 <= line["rollout/success"] <= line["rollout/score_mean"] <= 1
        assert line["rollout/reward_mean"] == line["rollout/success"]
        assert 1 <= line["rollout/turns_mean"] <= 4
        assert 0 < line["rollout/invalid_fraction"] < 1
        assert line["rollout/crashed_episodes"] == line["rollout/left_out_turns"] == 0
    raw = [json.loads(text) for text in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all(0 < line["time/environment_s"] < line["time/rollout_s"] for line in raw[1:])
    sample = json.loads((folder / "samples.jsonl").read_text().splitlines()[0])
    assert sample["problem"].startswith("letters/")
    assert sample["problem"].endswith("#1")
    assert sample["prompt"].startswith("Guess the letter of day")


def test_the_score_may_be_the_reward(train: Train, letters: str) -> None:
    for line in metrics(train("run", letters, *PLAYED, "rollout.reward=score", "steps=1"))[1:]:
        assert line["rollout/reward_mean"] == line["rollout/score_mean"] > line["rollout/success"]


def test_grpo_and_several_rollouts_of_an_episode(train: Train, letters: str) -> None:
    group = ("objective=grpo", "batch.rollouts_per_prompt=4", "batch.prompts=2", "steps=2")
    folder = train("run", letters, *PLAYED, *group)
    assert all(line["train/loss"] is not None for line in metrics(folder)[1:])
    assert weights(folder) != weights(train("short", letters, *PLAYED, "objective=grpo", "steps=1"))


def test_crashed_episodes_are_counted_and_not_trained_on(train: Train, letters: str) -> None:
    lines = metrics(train("run", letters, *PLAYED, "task.first=980", "steps=2"))[1:]
    assert sum(line["rollout/crashed_episodes"] for line in lines) > 0
    assert all(line["train/loss"] is not None for line in lines)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "rollout=hf",
            "rollout: letters has episodes, and HFRollout writes single responses; allowed: rollout=episodes",
        ),
        ("rollout.max_prompt_tokens=4000", "together more than the 2048 positions"),
        ("rollout.form=rows", "rollout.form=rows: must be one of turns, episode"),
        ("task.count=0", "the task has no problems"),
    ],
)
def test_what_cannot_be_played(
    letters: str, pair: list[str], override: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    asked = [text for text in merged(*pair, letters, *PLAYED, override, "run_dir=run") if override != "rollout=hf" or
             not text.startswith(("rollout.side", "rollout.form"))]  # fmt: skip
    assert main(["train", *asked]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # tests/environments/test_pool.py kills the owner of such processes in the fast tests
def test_kill_9_in_an_episode_leaves_no_process(
    start: Callable[..., subprocess.Popen[str]], letters: str, tmp_path: Path
) -> None:
    process = start("killed", letters, *PLAYED, "steps=500", "checkpoint_every=0", "log_samples=0")
    try:
        _wait(lambda: len(_children(process.pid)) >= 2, 120)
        workers = _children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    _wait(lambda: not any(_alive(worker) for worker in workers), 10)


def _wait(ready: Callable[[], bool], seconds: float) -> None:
    until = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < until
        time.sleep(0.05)


def _children(pid: int) -> list[int]:
    """Processes of a game that `pid` started."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                asked = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if parent == pid and b"environments.worker" in asked:
                found.append(int(entry.name))
    return found


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
