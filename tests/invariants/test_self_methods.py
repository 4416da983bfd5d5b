"""Methods whose teacher is the student, told more than it is asked, through the real command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import halved, merged, metrics, weights

Train = Callable[..., Path]
GROUPS = ("batch.rollouts_per_prompt=4", "batch.prompts=2", "reward=function", "reward.function=parity.py:reward")

TOLD = "method.terms.student.teacher"


@pytest.fixture(autouse=True)
def parity(tmp_path: Path) -> None:
    """A reward that random responses differ in."""
    (tmp_path / "parity.py").write_text(
        "from opdkit.data.grade import Grade\n\n\n"
        "def reward(problem, response, siblings):\n    return len(response) % 2\n\n\n"
        "def grade(problem, response, siblings):\n    return Grade.of(True)\n\n\n"
        "def first(problem, response, siblings):\n    return Grade.of(response < min(siblings))\n"
    )


def test_rlsd_without_a_share_is_grpo_bit_for_bit(train: Train) -> None:
    alike = [f"method.terms.student.objective.{key}" for key in ("clip_range_high=null", "dual_clip=null")]
    runs = {
        name: train(name, *GROUPS, "masking=none", "diagnostics=none", "vocabulary_metrics_every=0", *asked)
        for name, asked in {
            "grpo": ("method=grpo",),
            "none": ("method=rlsd", *alike, "method.terms.student.objective.lam=0"),
            "some": ("method=rlsd", *alike),
        }.items()
    }
    assert weights(runs["grpo"]) == weights(runs["none"])
    assert weights(runs["grpo"]) != weights(runs["some"])
    row = metrics(runs["some"])[1]
    assert 0.8 <= row["opd/token_weight"] <= 1.2
    assert 0 <= row["opd/weight_clipped"] <= 1


BRTS = ("method=brts", "method.terms.student.objective.k=8", "method.terms.teacher.objective.k=8", "k=8")


def test_both_terms_of_brts_move_with_the_teacher(train: Train) -> None:
    asked = (*GROUPS, "reward.function=parity.py:grade", "steps=1")
    row = metrics(train("whole", *BRTS, *asked))[1]
    assert sum(row[f"teacher/best_of/tier_{tier}"] for tier in (1, 2, 3)) == pytest.approx(1)
    assert 0 < row["teacher/best_of/alignment_mean"] <= row["teacher/best_of/alignment_chosen"] <= 1
    assert "teacher/rollout/length_mean" in row
    parts = metrics(train("parts", *BRTS, *asked, "batch.micro_batch=2"))[1]
    told = ("student/train/loss", "teacher/train/loss")
    for name in ("train/loss", "train/grad_norm", *told):
        assert row[name] == pytest.approx(parts[name], rel=2e-4)
    assert sum(row[name] for name in told) == pytest.approx(row["train/loss"])
    assert all(row[name] > 0 for name in told)
    aligned = "method.terms.teacher.selection.alignment=positional"
    assert metrics(train("positional", *BRTS, *asked, aligned))[1]["teacher/best_of/alignment_mean"] > 0


def test_rlsd_micro_batches_and_resuming(train: Train, pair: list[str]) -> None:
    asked = ("method=rlsd", *GROUPS, "method.terms.student.teacher.inner.every=2", "steps=3", "checkpoint_every=1")
    whole, parts = train("whole", *asked, "keep_checkpoints=9"), train("parts", *asked, "batch.micro_batch=2")
    for name in ("train/loss", "train/grad_norm"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4, abs=1e-6)
    half = halved(whole, "step-000001")
    assert main(["train", *merged(*pair, *asked, "keep_checkpoints=9", f"run_dir={half}", "resume=true")]) == 0
    assert weights(half) == weights(whole)


@pytest.mark.parametrize(
    ("method", "asked"),
    [("opsd", ()), ("sdft", ()), ("context", ()), ("sdpo", (*GROUPS, "reward.function=parity.py:grade"))],
)
def test_told_methods_learn_from_their_teacher(train: Train, method: str, asked: tuple[str, ...]) -> None:
    run = train(method, f"method={method}", *asked, "batch.micro_batch=2")
    row = metrics(run)[1]
    assert row["train/loss"] > 1e-4
    assert row["train/grad_norm"] > 0
    assert row["teacher/prompts_too_long"] == 0
    whole = metrics(train("whole", f"method={method}", *asked, "batch.micro_batch=8"))[1]
    for name in ("train/loss", "train/grad_norm"):
        assert row[name] == pytest.approx(whole[name], rel=2e-4, abs=1e-6)
    # Told something else, the same student learns something else.
    key = "system" if method == "context" else "template"
    other = f"{TOLD}.template='{{question}} What?'" if key == "template" else f"{TOLD}.system=Say"
    assert weights(train("other", f"method={method}", *asked, "batch.micro_batch=2", other)) != weights(run)


def test_rows_without_a_right_sibling_do_not_count(train: Train) -> None:
    """Of four responses one is right: it has no other to look at, and the three others look at it."""
    asked = (*GROUPS, "reward.function=parity.py:first", "log_samples=0", "steps=1")
    row = metrics(train("run", "method=sdpo", *asked))[1]
    assert row["teacher/prompts_without_field"] == 2  # one a group
    assert 0 < row["opd/masked_fraction"] < 1


@pytest.mark.parametrize("method", ["grpo", "rlsd", "sdpo", "paced"])
def test_a_group_of_one_is_refused(
    method: str, pair: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = (f"method={method}", "batch.rollouts_per_prompt=1", "batch.mini_batch=4")
    assert main(["train", *merged(*pair, "run_dir=run", *asked)]) == 2
    error = capsys.readouterr().err
    assert "batch.rollouts_per_prompt=1" in error
    assert error.count("\n") == 1
