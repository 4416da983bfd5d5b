"""Teachers made of the student, through the real command line: what they change, what they do not, and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights

Train = Callable[..., Path]
TOLD = ("teacher=privileged",)


@pytest.fixture
def pair(pair: list[str]) -> list[str]:
    """The tiny student alone: its teacher is made of it."""
    return [text for text in pair if not text.startswith("teacher")]


def test_an_empty_context_is_the_student_itself(train: Train) -> None:
    for name, asked in {"alone": ("teacher=self",), "empty": (*TOLD, "teacher.template='{question}'")}.items():
        run = train(name, "objective=full_reverse_kl", "steps=1", *asked)
        assert abs(metrics(run)[1]["train/loss"]) < 1e-6
    told = train("told", "objective=full_reverse_kl", "steps=1", *TOLD)
    assert metrics(told)[1]["train/loss"] > 1e-3


def test_micro_batches_and_padding_change_nothing(train: Train) -> None:
    asked = (*TOLD, "teacher.inner.kind=ema", "steps=2")
    whole, parts = train("whole", *asked, "batch.micro_batch=8"), train("parts", *asked, "batch.micro_batch=1")
    for name in ("train/loss", "train/grad_norm", "teacher/prompt_length_mean"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4)


@pytest.mark.parametrize("kind", ["start", "refreshed", "ema"])
def test_a_run_that_goes_on_is_the_run_that_never_stopped(
    train: Train, pair: list[str], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (*TOLD, f"teacher.inner.kind={kind}", "teacher.inner.every=2", "steps=4", "checkpoint_every=1")
    whole = train("whole", *asked, "keep_checkpoints=9")
    half = halved(whole, "step-000003")
    assert (half / "checkpoints" / "step-000003" / "teachers.safetensors").is_file()
    assert main(["train", *merged(*pair, *asked, "keep_checkpoints=9", f"run_dir={half}", "resume=true")]) == 0
    assert "going on from step-000003" in capsys.readouterr().out
    assert metrics(half) == metrics(whole)
    assert weights(half) == weights(whole)


def test_a_live_teacher_keeps_nothing(train: Train) -> None:
    run = train("run", *TOLD, "steps=1")
    assert not list(run.glob("checkpoints/*/teachers.safetensors"))
    lines = (run / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["perf/teachers_mib"] == 0


def test_rows_without_a_prompt_are_counted_and_do_not_count(train: Train) -> None:
    run = train("run", *TOLD, "teacher.max_prompt_tokens=60", "steps=1", "batch.prompts=8")
    row = metrics(run)[1]
    assert 0 < row["teacher/prompts_too_long"] < 16
    assert row["opd/masked_fraction"] > 0
    assert row["teacher/prompts_without_field"] == 0


def test_the_answer_never_reaches_the_student(train: Train) -> None:
    asked = (*TOLD, "teacher.template='{question} SECRET {answer}'", "steps=1", "log_samples=8")
    run = train("run", *asked)
    for line in (run / "samples.jsonl").read_text().splitlines():
        assert "SECRET" not in json.loads(line)["prompt"]
    assert "SECRET" not in "".join(file.read_text() for file in run.glob("evals/**/*.jsonl"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("teacher.template='{question} {feedback}'",), r"asks for {feedback}, and problem chain_sum/train"),
        (("teacher.template='{answer}'",), "has no {question}"),
        (
            ("teacher.template='{question} {sibling}'", "batch.rollouts_per_prompt=1", "batch.mini_batch=4"),
            "batch.rollouts_per_prompt=1 must be at least 2",
        ),
        (
            ("task=reasoning_gym", "task.dataset=propositional_logic", "rollout.max_prompt_tokens=2000"),
            "asks for {answer}, and problem propositional_logic/train/0/0 of propositional_logic has none",
        ),
        (("teacher.inner.kind=older",), "kind=older: must be one of start, live"),
    ],
)
def test_one_line_and_exit_2(
    asked: tuple[str, ...], said: str, pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["train", *merged(*pair, *TOLD, "run_dir=run", *asked)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "config.yaml").exists()
