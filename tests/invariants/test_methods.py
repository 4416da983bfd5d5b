"""Methods of several terms through the real command line: their gradients add up, and authors are told apart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from opdkit.cli.main import main
from tests.invariants.conftest import merged, metrics, weights

Train = Callable[..., Path]


def test_terms_of_micro_batches_equal_the_full_batch(train: Train) -> None:
    asked = ("method=minillm", "steps=2", "batch.epochs=1")
    whole, parts = train("whole", *asked, "batch.micro_batch=8"), train("parts", *asked, "batch.micro_batch=2")
    for name in ("train/loss", "train/grad_norm"):
        assert metrics(whole)[1][name] == pytest.approx(metrics(parts)[1][name], rel=2e-4)


def test_a_term_of_weight_zero_changes_nothing(train: Train) -> None:
    plain = train("plain", "objective=minillm", "steps=2")
    weightless = train("weightless", "method=minillm", "method.terms.data.weight=0", "steps=2")
    assert metrics(weightless)[1]["data/train/loss"] == 0
    assert metrics(weightless)[1]["student/train/loss"] == pytest.approx(metrics(weightless)[1]["train/loss"])
    assert not [name for name in metrics(plain)[1] if name.endswith("/train/loss")]
    assert metrics(weightless)[1]["train/grad_norm"] == pytest.approx(metrics(plain)[1]["train/grad_norm"], rel=1e-5)
    moved = train("moved", "method=minillm", "steps=2")
    assert metrics(moved)[1]["train/grad_norm"] != pytest.approx(metrics(plain)[1]["train/grad_norm"], rel=1e-2)


def test_prompts_weigh_by_their_pass_rate(train: Train, tmp_path: Path) -> None:
    (tmp_path / "parity.py").write_text(
        "from opdkit.data.grade import Grade\n\n\n"
        "def reward(problem, response, siblings):\n    return Grade.of(len(response) % 2 == 1)\n"
    )
    asked = ("batch.rollouts_per_prompt=4", "batch.prompts=2", "reward=function", "reward.function=parity.py:reward")
    plain = train("plain", "method=opd", *asked, "steps=2")
    none = [f"method.terms.student.curriculum.{name}=0" for name in ("a", "b")]
    assert weights(train("none", "method=paced", *none, *asked, "steps=2")) == weights(plain)
    row = metrics(train("paced", "method=paced", *asked, "steps=1"))[1]
    parts = metrics(train("parts", "method=paced", *asked, "steps=1", "batch.micro_batch=2"))[1]
    assert 0 < row["rollout/curriculum_weight"] <= 0.25
    assert row["train/loss"] < metrics(plain)[1]["train/loss"] / 3
    for name in ("train/loss", "train/grad_norm"):
        assert row[name] == pytest.approx(parts[name], rel=2e-4)


def test_what_the_teacher_wrote_is_told_apart(train: Train) -> None:
    """With rollouts of the teacher alone: lengths under its name, entropies and masks by the student's own."""
    own = metrics(train("own", "objective=gkd_forward", "steps=1"))[1]
    theirs = metrics(train("theirs", "objective=gkd_forward", "method=gkd", "student_share=0", "steps=1"))[1]
    assert "rollout/length_mean" in own
    assert "teacher/rollout/length_mean" not in own
    assert "rollout/length_mean" not in theirs
    assert "teacher/rollout/length_mean" in theirs
    assert theirs["opd/student_entropy"] > 0
    masked = train("masked", "objective=gkd_forward", "method=gkd", "student_share=0", "steps=1", "masking=entropy")
    assert metrics(masked)[1]["opd/student_entropy"] > theirs["opd/student_entropy"]


def test_rubrics_grade_groups_and_a_resumed_run_asks_nothing_twice(
    train: Train, pair: list[str], tmp_path: Path
) -> None:
    asked = ("method=ropd", "text=sums_script", "steps=2", "checkpoint_every=1")
    whole = train("whole", *asked)
    row = metrics(whole)[-1]
    assert 4 <= row["reward/criteria"] <= 12
    lines = (whole / "reward" / "judge.jsonl").read_text().splitlines()
    assert main(["train", *merged(*pair, *asked, f"run_dir={whole}", "resume=true")]) == 0
    assert (whole / "reward" / "judge.jsonl").read_text().splitlines() == lines
    assert weights(train("again", *asked)) == weights(whole)
    parts = metrics(train("parts", *asked, "batch.micro_batch=2"))[1]
    for name in ("train/loss", "train/grad_norm"):
        assert metrics(whole)[1][name] == pytest.approx(parts[name], rel=2e-4, abs=1e-6)


def test_the_run_s_teacher_may_write_the_answers_that_rubrics_are_made_from(
    train: Train, capsys: pytest.CaptureFixture[str], pair: list[str]
) -> None:
    asked = ("method=ropd", "text=sums_script", "method.terms.student.reward.teacher=null", "steps=1")
    run = train("asked", *asked)
    assert "reward/unread_no_teacher" not in metrics(run)[1]
    written = [json.loads(line) for line in (run / "reward" / "judge.jsonl").read_text().splitlines()]
    assert written
    student = [text for text in pair if not text.startswith("teacher")]
    assert main(["train", *merged(*student, *asked, "teacher=null", f"run_dir={run}_none")]) == 2
    assert "its reward has the run's teacher write" in capsys.readouterr().err


def test_a_length_at_the_limit_changes_nothing_and_a_shorter_one_cuts(train: Train) -> None:
    plain = train("plain", "objective=sampled", "steps=2")
    at_limit = ("method=fast_opd", "objective=sampled", "steps=2", "method.length.start=8")
    assert weights(train("limit", *at_limit)) == weights(plain)
    short = metrics(train("short", *at_limit[:-1], "method.length.start=3"))
    assert short[1]["rollout/length_mean"] <= 3 < short[2]["rollout/length_mean"]


def test_what_the_teacher_began_is_not_counted_and_the_run_ends_without_it(train: Train) -> None:
    plain = metrics(train("plain", "objective=trust_region", "steps=2"))
    guided = metrics(train("guided", "method=guided", "steps=2", "method.prefix.start=5"))
    assert guided[1]["rollout/length_mean"] <= 3 + 1
    assert guided[1]["rollout/length_mean"] < plain[1]["rollout/length_mean"]
    assert guided[2]["rollout/length_mean"] > 5
    none = train("none", "method=guided", "steps=2", "method.prefix.start=0")
    assert metrics(none)[2]["train/loss"] == plain[2]["train/loss"]


def test_a_prefix_needs_a_teacher_that_writes(
    pair: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("method=guided", "teacher=extrapolated", f"teacher.inner.path={pair[-1].split('=')[1]}", *pair[:2])
    assert main(["train", *merged(*asked, "steps=1", f"run_dir={tmp_path / 'x'}")]) == 2
    assert "method.prefix: the teacher begins a response" in capsys.readouterr().err
