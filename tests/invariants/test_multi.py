"""Whole runs on several tasks, one of them played in turns, each with its own teacher."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights
from tests.tiny import tiny_model

Train = Callable[..., Path]
TASK = """# a game and sums
defaults:
  - /task@parts.sums.source: chain_sum
  - /rollout@parts.letters.rollout: episodes
  - /benchmark@parts.letters.benchmark: chain_sum_short
  - /teacher@parts.letters.teacher: local
  - _self_
_target_: opdkit.tasks.MultiTask
parts:
  sums: {_target_: opdkit.tasks.TaskPart, share: 1, teacher: null, rollout: null, benchmark: null}
  letters:
    _target_: opdkit.tasks.TaskPart
    share: 1
    source: {_target_: tests.games.LetterSource, count: 40, max_turns: 3}
    rollout: {max_new_tokens: 8, max_prompt_tokens: 400, side_by_side: 4}
    benchmark: {limit: 3, max_new_tokens: 8}
    teacher: {path: TEACHER}
schedule: alternating
teachers: keep
"""
ALTERNATING, MIXED = ("steps=4", "task.schedule=alternating"), ("steps=3", "task.schedule=mixed")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the two tasks and of the game's teacher, which is another than the run's."""
    folder = tmp_path_factory.mktemp("own")
    model = tiny_model(2)
    model.module.save_pretrained(folder / "teacher")
    model.tokenizer.save_pretrained(folder / "teacher")
    (folder / "task").mkdir()
    (folder / "task" / "both.yaml").write_text(TASK.replace("TEACHER", str(folder / "teacher")))
    return folder


@pytest.fixture(scope="module")
def both(own: Path) -> tuple[str, ...]:
    """Overrides that choose the two tasks."""
    return (f"--config-dir={own}", "task=both", "batch.mini_batch=4")


@pytest.fixture(scope="module")
def in_turns(pair: list[str], both: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps whose tasks take turns."""
    folder = tmp_path_factory.mktemp("turns") / "run"
    assert main(["train", *merged(*pair, *both, *ALTERNATING, f"run_dir={folder}")]) == 0
    return folder


def test_tasks_take_turns_and_each_is_told_under_its_name(in_turns: Path) -> None:
    folder = in_turns
    lines = metrics(folder)
    for line, name, other in zip(lines[1:], ["sums", "letters"] * 2, ["letters", "sums"] * 2, strict=True):
        assert line[f"{name}/train/loss"] == line["train/loss"]
        assert line[f"{name}/rollout/reward_mean"] == line["rollout/reward_mean"]
        assert f"{name}/opd/log_ratio_mean" in line
        assert not any(key.startswith(f"{other}/") for key in line)
    summary = json.loads((folder / "summary.json").read_text())
    for label in ("before", "after", "teacher"):
        tasks = summary[label]["tasks"]
        assert {name: found["benchmark"] for name, found in tasks.items()} == {
            "sums": "chain_sum", "letters": "chain_sum_short",
        }  # fmt: skip
        assert summary[label]["pass@1"] == sum(found["pass@1"] for found in tasks.values()) / 2
    assert {"eval/chain_sum/pass@1", "eval/chain_sum_short/pass@1"} <= lines[0].keys()
    card = (folder / "final" / "README.md").read_text()
    assert "| teacher of letters |" in card
    assert "On chain_sum_short:" in card


def test_a_step_of_one_task_is_that_tasks_own_run(
    train: Train, both: tuple[str, ...], in_turns: Path, own: Path
) -> None:
    """The first step of a run that the game begins is what it would be with the game's teacher for both tasks, and
    not what it would be with the sums' teacher."""
    one = metrics(in_turns)
    same = metrics(train("same", *both, "steps=1", f"teacher.path={own / 'teacher'}"))
    assert one[1]["train/loss"] != same[1]["train/loss"]
    assert "letters/train/loss" in one[2]
    assert one[2]["letters/rollout/success"] >= 0


def test_a_mixed_step_has_all_tasks_in_each_mini_batch(train: Train, both: tuple[str, ...]) -> None:
    lines = metrics(train("run", *both, *MIXED))[1:]
    for line in lines:
        assert {"sums/rollout/reward_mean", "letters/rollout/success", "train/loss"} <= line.keys()
        assert "sums/train/loss" not in line
        means = [line[f"{name}/rollout/length_mean"] for name in ("sums", "letters")]
        assert min(means) <= line["rollout/length_mean"] <= max(means)


SLOW = pytest.mark.slow


@pytest.mark.parametrize("schedule", [pytest.param(ALTERNATING, marks=SLOW), MIXED], ids=["alternating", "mixed"])
def test_micro_batches_equal_the_full_batch(train: Train, both: tuple[str, ...], schedule: tuple[str, ...]) -> None:
    asked = (*both, *schedule, "steps=2")
    whole, parts = train("whole", *asked, "batch.micro_batch=4"), train("parts", *asked, "batch.micro_batch=1")
    for name in ("train/loss", "train/grad_norm", "opd/student_mass"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4, abs=1e-6)
    one, two = load_file(whole / "final/model.safetensors"), load_file(parts / "final/model.safetensors")
    residual = torch.cat([(one[name] - two[name]).flatten() for name in one])
    assert residual.abs().mean() < 2e-3 * torch.cat([one[name].flatten() for name in one]).abs().mean()


@pytest.mark.parametrize("schedule", [ALTERNATING, pytest.param(MIXED, marks=SLOW)], ids=["alternating", "mixed"])
def test_a_run_that_goes_on_takes_up_every_task(
    train: Train, both: tuple[str, ...], pair: list[str], schedule: tuple[str, ...]
) -> None:
    long = (*both, *schedule, "steps=4", "checkpoint_every=2", "keep_checkpoints=9")
    whole = train("whole", *long)
    half = halved(whole, "step-000002")
    assert main(["train", *merged(*pair, *long, "run_dir=half", "resume=true")]) == 0
    assert metrics(half) == metrics(whole)
    assert weights(half) == weights(whole)


def test_swapping_teachers_changes_nothing_but_memory(train: Train, both: tuple[str, ...], in_turns: Path) -> None:
    kept, swapped = in_turns, train("swapped", *both, *ALTERNATING, "task.teachers=swap")
    for one, two in zip(metrics(kept), metrics(swapped), strict=True):
        assert {k: (one.get(k), two.get(k)) for k in one | two if one.get(k) != two.get(k)} == {}
    assert weights(kept) == weights(swapped)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task.parts.letters.benchmark.name=chain_sum"], "have the same benchmark, chain_sum"),
        (["task.schedule=mixed", "batch.prompts=4", "task.parts.sums.share=9"], "too few to be in each of the step's"),
        (["task.parts.sums.share=0"], "share=0: must be at least 1"),
        (["task.schedule=turns"], "task.schedule=turns"),
        (["task.parts.letters.source.count=0"], "the task has no problems"),
    ],
)
def test_what_cannot_share_a_run(
    both: tuple[str, ...], pair: list[str], overrides: list[str], said: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["train", *merged(*pair, *both, *overrides, "run_dir=run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
