"""`teacher=retokenized` through the command line, on the embedded student and a teacher of another family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from opdkit.cli.main import main

SMALL = (
    "teacher=retokenized", "batch.prompts=4", "batch.mini_batch=4", "batch.epochs=1", "steps=2", "logger=jsonl",
    "benchmark.limit=1", "rollout.max_new_tokens=96", "vocabulary_metrics_every=1", "diagnostics=none",
)  # fmt: skip
MODES = {
    "strict": ("teacher.mode=strict",),
    "byte_prefix": ("teacher.mode=byte_prefix",),
    "byte_filter": ("teacher.mode=byte_filter",),
    "span": ("teacher.mode=span", "objective=sampled"),
    "merged": ("teacher.mode=merged", "objective=gold"),
    "position": ("teacher.mode=position", "objective=uld"),
}
WITHOUT = {
    "span": ("opd/teacher_entropy",),
    **dict.fromkeys(("merged", "position"), ("opd/teacher_entropy", "opd/log_ratio_mean")),
}
"""Metrics that a mode can't have."""


# How much of what the student wrote has no score.
UNSCORED = {
    "strict": (0.5, 0.95), "byte_prefix": (0.0, 0.2), "byte_filter": (0.0, 0.0), "span": (0.0, 0.0),
    "merged": (0.0, 0.0), "position": (0.3, 0.7),
}  # fmt: skip


def steps(folder: Path, *overrides: str) -> list[dict[str, float]]:
    assert main(["train", *SMALL, f"run_dir={folder}", *overrides]) == 0
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if "train/loss" in row]


@pytest.mark.parametrize("mode", MODES)
def test_a_run_trains_and_micro_batches_change_nothing(mode: str, tmp_path: Path) -> None:
    whole = steps(tmp_path / "whole", *MODES[mode], "batch.micro_batch=4")
    parts = steps(tmp_path / "parts", *MODES[mode], "batch.micro_batch=1")
    assert len(whole) == 2
    for name in ("train/loss", "opd/teacher_entropy", "opd/log_ratio_mean"):
        if name in WITHOUT.get(mode, ()):
            continue
        assert [row[name] for row in parts] == pytest.approx([row[name] for row in whole], rel=1e-4, abs=1e-6), name
    low, high = UNSCORED[mode]
    assert all(low <= row["opd/masked_fraction"] <= high for row in whole)


def test_span_scores_are_refused_where_an_objective_needs_a_support(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *SMALL, "teacher.mode=span", "batch.micro_batch=4", f"run_dir={tmp_path}"]) == 2
    told = capsys.readouterr().err
    assert "teacher=embedded/bpe_teacher can't give what the objective needs: own_top_k" in told
    assert main(["train", *SMALL, "objective=uld", "batch.micro_batch=4", f"run_dir={tmp_path}"]) == 2
    assert "needs: own_vocabulary (of teacher=retokenized, teacher.mode=merged or position" in capsys.readouterr().err
    assert main(["train", *SMALL, "teacher.mode=words", "batch.micro_batch=4", f"run_dir={tmp_path}"]) == 2
    assert "words" in capsys.readouterr().err


def test_the_doctor_tells_coverage_and_mass_and_what_is_lost(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "teacher=retokenized", "batch.prompts=4", "batch.mini_batch=4", "batch.micro_batch=4"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "alignment in 4 sample rollouts" in told
    assert "sampled tokens stand against one token of the teacher's with the same text (strict)" in told
    assert "of the teacher's probability, a mean over the strict positions" in told
    assert "F | r | o | m" in told
